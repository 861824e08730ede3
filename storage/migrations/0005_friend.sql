-- friend: what two are to each other, as each of them sees it

CREATE TABLE friend (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    other   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    state   text NOT NULL CHECK (state IN ('friend', 'asked', 'waiting')),
    since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, other),
    CHECK (account <> other)
);

CREATE INDEX friend_page ON friend (account, state, since, other);
CREATE INDEX friend_other ON friend (other, account);

-- Who may ask somebody, and who may open a channel with them; who has no row has not chosen.
CREATE TABLE friend_privacy (
    account  uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    requests text NOT NULL DEFAULT 'everyone' CHECK (requests IN ('everyone', 'friends_of_friends', 'nobody')),
    directs  text NOT NULL DEFAULT 'everyone' CHECK (directs IN ('everyone', 'friends'))
);
