"""What several cases share: the cache folder, the number of usable cores, vector instructions, and kept kernels.

No case imports another; every case may import this package.
"""
