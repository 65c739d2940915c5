"""gretrace: why is this GRE tunnel broken?"""

__version__ = "0.1.0"
