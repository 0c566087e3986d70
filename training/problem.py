"""What the user can mend."""


class Problem(Exception):
    """Printed without a stack trace."""
