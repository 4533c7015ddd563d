"""Figures of the paper that runs use as defaults, or that stand beside measured ones."""

LLAMA = {"dModel": 16384, "heads": 128, "kvHeads": 8, "headDim": 128, "ffn": 53248, "layers": 126}
"""Llama 3 405B (Table 9)."""

GTT = {"bandwidth": 26e9, "latency": 35e-6}
"""A ring transfer, as the paper's Tables 5 and 8 imply it for its RDMA fabric (GTT, 400 Gb/s a GPU)."""

TTFT = {
    (128000, 1): 42.010,
    (128000, 2): 21.042,
    (128000, 4): 10.950,
    (128000, 8): 5.85,
    (128000, 16): 3.8,
    (1000000, 16): 77.0,
}
"""TTFT in seconds by tokens and CP ranks (Tables 6 and 7, sections 4.2.1 to 4.2.3)."""

TABLE_4 = [
    (126720, 1280, 1023.39, 898.71),
    (124800, 3200, 1110.18, 1046.43),
    (123840, 4160, 1298.92, 1280.1),
    (121600, 6400, 1305.56, 1302.01),
    (115200, 12800, 2080.67, 2205.27),
    (89600, 38400, 4629.23, 4922.52),
    (64000, 64000, 6845.21, 7367.99),
    (51200, 76800, 7890.35, 8468.66),
    (25600, 102400, 10105.78, 10652.39),
    (12800, 115200, 11136.4, 11571.62),
    (0, 128000, 11462.15, 12360.57),
]
"""P, T, and TTFT in ms by pass-KV and by pass-Q on CP4."""

TABLE_8 = [
    (128000, 1, 1, 38.9),
    (128000, 1, 2, 22.0),
    (128000, 1, 4, 14.7),
    (32000, 4, 1, 60.1),
    (32000, 4, 2, 13.9),
    (32000, 4, 4, 9.6),
]
"""Context, B, N, and one attention op in microseconds."""
