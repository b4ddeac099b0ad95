"""`python -m cytoimagenet`, in the wheel. In a checkout `cytoimagenet.py` does it."""

from cytoimagenet import main

main()
