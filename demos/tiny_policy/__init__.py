"""How the embedded policy is made: demonstrators, a tokenizer, and a short training."""
