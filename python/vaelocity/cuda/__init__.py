"""Scoring on a GPU: one Triton kernel a score. Importing this package imports neither torch nor
triton.

    plan.py      bundle -> the blocks of weights a kernel reads
    columns.py   its preprocessing by column and its loss, as a kernel reads them
    config.py    which kernel and which configuration, from a committed table
    compile.py   ahead of time, for a GPU that is not here
    scorer.py    vaelocity.load(path, backend="cuda")
    fused.py     a dense network on the device: one launch of one kernel
    layered.py   a network with convolutions: torch (layers.py), then a kernel for the score
    accept.py    the accepted events alone
    stream.py    CudaScorer.score_stream: copies and kernels that overlap
    export.py    vaelocity export --cubin: the kernel and a C launcher
"""
