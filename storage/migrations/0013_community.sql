-- notification: an invite tells by which code

ALTER TABLE notification ADD COLUMN code text;
