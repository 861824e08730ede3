"""What must fit together in the database, whatever was done to it."""

FLAWS = """
    SELECT 'head of ' || s.id FROM stream s WHERE s.head <> greatest(
           (SELECT coalesce(max(seq), 0) FROM fact WHERE stream = s.id),
           (SELECT coalesce(max(seq), 0) FROM message WHERE channel = s.id))
    UNION ALL
    SELECT 'last of ' || s.id FROM stream s
     WHERE s.last <> (SELECT coalesce(max(seq), 0) FROM message WHERE channel = s.id)
    UNION ALL
    SELECT 'members of ' || p.id FROM space p
     WHERE p.members <> (SELECT count(*) FROM space_member m WHERE m.space = p.id)
    UNION ALL
    SELECT 'owner of ' || p.id FROM space p
     WHERE p.owner NOT IN (SELECT account FROM space_member m WHERE m.space = p.id)
    UNION ALL
    SELECT 'members of ' || c.id FROM channel c
     WHERE c.members <> (SELECT count(*) FROM member m WHERE m.channel = c.id)
    UNION ALL
    SELECT 'owner of ' || c.id FROM channel c
     WHERE c.space IS NULL AND c.owner NOT IN (SELECT account FROM member m WHERE m.channel = c.id)
    UNION ALL
    SELECT 'reactions to ' || m.channel || ' ' || m.seq FROM message m
     WHERE (SELECT count(*) FROM reaction r WHERE r.channel = m.channel AND r.seq = m.seq) <>
           (SELECT coalesce(sum((e ->> 'count')::int), 0) FROM jsonb_array_elements(m.reactions::jsonb) e)
    UNION ALL
    SELECT 'votes in ' || m.channel || ' ' || m.seq FROM message m
     WHERE (SELECT (count(*), coalesce(sum(cardinality(v.options)), 0)::bigint) FROM vote v
             WHERE v.channel = m.channel AND v.seq = m.seq) IS DISTINCT FROM
           (SELECT (coalesce((m.poll::json ->> 'voters')::bigint, 0), coalesce(sum((e ->> 'count')::bigint), 0)::bigint)
              FROM json_array_elements(m.poll::json -> 'options') e)
    UNION ALL
    SELECT 'who has voted in ' || m.channel || ' ' || m.seq FROM message m, fact f
     WHERE f.kind = 'poll.voted' AND f.stream = m.channel AND (f.data::json ->> 'message')::bigint = m.seq
       AND (m.poll::json ->> 'anonymous')::boolean
       AND coalesce(f.data::json ->> 'user', f.data::json ->> 'options') IS NOT NULL
    UNION ALL
    SELECT 'retention of ' || c.id FROM channel c
     WHERE (c.keeps_for IS NOT NULL) <> EXISTS (SELECT FROM due d WHERE d.stream = c.id AND d.kind = 'retention')
    UNION ALL
    SELECT 'friends ' || f.account || ' ' || f.other FROM friend f
     WHERE NOT EXISTS (SELECT FROM friend g WHERE (g.account, g.other) = (f.other, f.account)
       AND (f.state, g.state) IN (('friend', 'friend'), ('asked', 'waiting'), ('waiting', 'asked')))
    UNION ALL
    SELECT 'words of ' || m.channel || ' ' || m.seq || ' in ' || f.kind FROM message m, fact f
     WHERE length(m.text) > 15 AND position(m.text IN f.data) > 0
"""
