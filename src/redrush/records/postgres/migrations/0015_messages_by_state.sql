-- In the order in which messages are listed: few that failed are found among millions that did not.
DROP INDEX messages_of_state;
CREATE INDEX messages_of_state ON messages (state, id);
