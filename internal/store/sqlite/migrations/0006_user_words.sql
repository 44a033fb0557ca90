-- What people are found by: the words of their names, folded (internal/words). Go
-- fills it for who is there already.
CREATE TABLE user_words (
  word    TEXT NOT NULL,
  user_id INTEGER NOT NULL,
  PRIMARY KEY (word, user_id)
) STRICT, WITHOUT ROWID;
