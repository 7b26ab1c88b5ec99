from .data import load_data
from .training import load_model
