-- Every three letters in a row of names, and what is left at the end: accounts are found by parts of them.
CREATE FUNCTION name_parts(names text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(ARRAY(SELECT substr(folded, at, 3) FROM (SELECT lower(names) AS folded OFFSET 0) n,
                                          generate_series(1, length(folded)) AS at))
$$;

CREATE INDEX account_parts ON account USING gin (name_parts(username || ' ' || display_name)) WHERE deleted_at IS NULL;
