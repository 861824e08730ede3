-- notification: whether somebody has read what they were told of a thread is looked up by itself

CREATE INDEX notification_thread ON notification (channel, account) WHERE kind = 'thread' AND NOT read;
