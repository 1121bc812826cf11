"""PLC programs on four OPC UA stacks, each a process of its own, told what to do by lines of JSON.

What a PLC does at a station is written once, in :mod:`lineside_bench.plcs.station`; a program here only holds the nodes
and writes them, so that the same station runs on asyncua, node-opcua, o6 (open62541) and python-opcua. From Python:

    plc = StackPlc(Stack.o6, root=find_root(), stations=2, gap_ms=5.0, beside={"Recipe": ("String", "")})
    async with plc:                                                         # of lineside_bench.plcs.plc
        record = PartRecord(...)                                            # of lineside_bench.reporting.records
        await plc.stations[0].judge(record, patience_s=5.0, beside={"Recipe": "A"})      # by a bridge at plc.url
        record.write_backs                                                  # what the PLC held at each write of Done
        await plc.write(("Station1.PartId", "P-7"), 30.0, ("Station1.PartPresent", True))    # or step by step
        await plc.program.read("Station1.Done")
        plc.program.writes["Station1.Done"]                                 # every write of it, in order

With `handshake=True` a station waits until the bridge has lowered Done, as with `write_back.clear_done: bridge`.

The nodes of a tag `Station1.PartId`: `nsu=urn:lineside:bench;s=Station1.PartId` below the object `Station1` in Objects.

A program's only argument is a JSON object: `port` (1 to 65535), `host`, `namespace` (its URI), `tags` ({tag: [type,
value]}; the type is an OPC UA built-in one such as Boolean, Int32, Double, String, and a list is an array of it),
`writable` (the tags that clients may write), and `watched` ({writable tag: the writable tags whose values are told with
each write of it}).

It says `{"ready": true}` once it listens. Each line on its stdin is one of these, answered in order by one line:

    {"write": [["A", 1], 30, ["B", true]]}   writes A, waits 30 ms, writes B      {"ok": "time of the last write"}
    {"read": ["A", "B"]}                                                         {"ok": {"A": 1, "B": true}}

Without a wait between them two tags are written in the same millisecond. What cannot be done is answered
`{"error": "why"}`. Between the answers it tells of each write of a watched tag, whoever wrote it:
`{"written": "Station1.Done", "value": true, "at": "time", "beside": {"Station1.Verdict": "pass"}}`. Times are ISO 8601
in UTC. It ends when its stdin does. What else its libraries print is no JSON object of these and is passed over.

The programs but asyncua's need an environment of their own, see :mod:`lineside_bench.plcs.environment`. o6 runs for ten
minutes and then ends itself: its wheel is licensed so where no credential is.
"""
