CREATE TABLE user_words (
  word    text COLLATE "C" NOT NULL,
  user_id bigint NOT NULL,
  PRIMARY KEY (word, user_id)
);
