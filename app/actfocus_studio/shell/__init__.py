"""What all pages share: the top bar, the method controls, rolling out."""
