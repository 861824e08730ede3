-- Invites: the same nonce again is the same one; never more uses than allowed; found by who made them, and by role.

ALTER TABLE invite ADD COLUMN nonce uuid;
ALTER TABLE invite ADD CHECK (uses <= most);
CREATE UNIQUE INDEX invite_nonce ON invite (by, nonce);
CREATE INDEX invite_role ON invite (role) WHERE role IS NOT NULL;
