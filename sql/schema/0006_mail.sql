-- Which of its source's servers a person's mail is on (EAS-01). A server that is deleted is nobody's.
CREATE TABLE mail_home (
    person_id TEXT PRIMARY KEY REFERENCES person (id) ON DELETE CASCADE,
    server_id TEXT REFERENCES eas_server (id) ON DELETE CASCADE, -- that accepted the person; NULL: none yet
    accepted_ms BIGINT,             -- when it was found, not each time
    refused_ms BIGINT               -- when all linked servers refused the person; NULL: they don't
);
CREATE INDEX mail_home_server ON mail_home (server_id);
CREATE INDEX mail_home_refused ON mail_home (refused_ms) WHERE refused_ms IS NOT NULL;
