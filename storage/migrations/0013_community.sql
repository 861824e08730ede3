-- notification: an invite tells by which code

ALTER TABLE notification ADD COLUMN code text;

-- thread: when the tail has seen the last message in it, so that who follows it is told

ALTER TABLE thread ADD COLUMN moved_at timestamptz;
CREATE INDEX thread_moved ON thread (moved_at);
