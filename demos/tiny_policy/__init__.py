"""The embedded policy: its demonstrators, tokenizer and supervised training."""
