"""
Ringside's native worker: context-parallel attention with PyTorch on GPUs or CPUs.

Its modules by part. A part imports itself and the parts after its arrow, never anything else, and no modules import
each other in a circle. tests/test_imports.py reads this picture.

    start -> server, processes, engine, calls, base
        __main__, compute, gpu_check, needs
    server -> processes, base
        server, connection, runner, call, client_sessions, queue, outbox, wire, pending, open_files, auth, limits
    processes -> meetings, base
        processes
    engine -> calls, rank, meetings, parts, base
        engine
    calls -> rank, meetings, parts, base
        attend, session_calls, layer_mode, layer, bench, report, fit, choice, facts
    rank -> meetings, parts, base
        run, ring, simulated_ring, world_ring, exchange, attention, session, tensors, job
    meetings -> parts, base
        team, meeting, rendezvous
    parts -> base
        layout, mask, cuts, route, ops, merge, spans, memory, policy, reference, seeded, fp8, paper
    base
        errors, pipe
"""
