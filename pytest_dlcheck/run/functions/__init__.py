"""The user's own autograd Functions: found, and held against finite differences."""
