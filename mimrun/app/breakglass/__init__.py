"""Break-glass: past the gates of one plan, and sealed packs for when there is nothing but a machine."""
