"""The Train page: experiments are started and watched."""
