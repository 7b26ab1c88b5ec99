"""The claims of every case, and the gate that judges them."""
