-- Who does not want to be seen.

ALTER TABLE users ADD COLUMN hides_presence INTEGER NOT NULL DEFAULT 0 CHECK (hides_presence IN (0, 1));
