"""Search spaces: what can be expressed. One file a space."""
