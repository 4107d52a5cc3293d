"""What several test files need."""
import pytest

# The contract is a module of the package: show what its asserts compared.
pytest.register_assert_rewrite('mmlosses.testing')
