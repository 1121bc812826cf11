// What the service answers, as types.
// Made from docs/reference/openapi.json by services/inference/page-tools/documents.py.

/**
 * @typedef {object} AskedDocument
 * @property {string} id
 * @property {string} model
 * @property {string | null} model_version
 * @property {Record<string, unknown>} source
 * @property {number | null} deadline_ms
 * @property {Record<string, unknown>} time
 */

/**
 * @typedef {object} CameraDocument
 * @property {string} name
 * @property {string} kind
 * @property {string} target
 * @property {string} state
 * @property {string} since
 * @property {boolean} required
 * @property {string} detail
 * @property {string} remedy
 * @property {number} seconds
 * @property {number | null} frames_a_second
 * @property {number | null} newest_age_s
 * @property {number | null} incomplete_share
 * @property {number | null} resent_share
 * @property {number} socket_drops
 * @property {number} lost_control
 * @property {number} underruns
 * @property {number | null} clock_error_s
 * @property {number | null} temperature_celsius
 * @property {number} hot_celsius
 * @property {Array<CameraNeedDocument>} needs
 */

/**
 * @typedef {object} CameraNeedDocument
 * @property {string} what
 * @property {string} remedy
 * @property {boolean} is_bad
 */

/**
 * @typedef {object} CamerasDocument
 * @property {string} now
 * @property {Array<CameraDocument>} cameras
 */

/**
 * @typedef {object} Capture
 * @property {number} rate
 * @property {number | null} [every]
 * @property {number | null} [per_hour]
 * @property {Array<"pass" | "fail" | "unknown">} always
 * @property {[number, number] | null} [band]
 * @property {Array<string>} labels
 * @property {Array<"image" | "input" | "outputs" | "overlay">} keep
 */

/**
 * @typedef {object} CaptureDocument
 * @property {string} capture_id
 * @property {"IN_PROGRESS" | "SUCCESS" | "FAILURE"} status
 * @property {string} detail
 */

/**
 * @typedef {object} ChainDocument
 * @property {string} now
 * @property {number} silent_after_s
 * @property {Array<HeardDocument>} services
 */

/**
 * @typedef {object} ChangedDocument
 * @property {string} id
 * @property {"pass" | "fail" | "unknown"} before
 * @property {"pass" | "fail" | "unknown"} after
 * @property {string} reason
 */

/**
 * @typedef {object} Context
 * @property {string | null} [station]
 * @property {string | null} [part_id]
 * @property {Record<string, string | boolean | number | null>} tags
 */

/**
 * @typedef {object} CountsDocument
 * @property {string} run
 * @property {string} started
 * @property {string} now
 * @property {number} number
 * @property {number} pictures_since
 * @property {number} passed
 * @property {number} failed
 * @property {number} unknown
 * @property {number} disabled
 * @property {Array<MinuteDocument>} trend
 */

/**
 * @typedef {object} DestinationDocument
 * @property {string} name
 * @property {string} state
 * @property {string} detail
 * @property {string | null} since
 * @property {number} waiting
 * @property {number} waiting_bytes
 * @property {string | null} oldest
 * @property {number} delivered
 * @property {number} delivered_bytes
 * @property {number} dead
 */

/**
 * @typedef {object} EngineDocument
 * @property {string} server
 * @property {string | null} version
 * @property {string | null} transport
 * @property {string} detail
 * @property {Record<string, string>} models
 */

/**
 * @typedef {object} EvidenceDocument
 * @property {string} now
 * @property {boolean} configured
 * @property {boolean} kept
 * @property {string} reason
 * @property {WaitingDocument | null} waiting
 * @property {Array<DestinationDocument>} destinations
 * @property {Record<string, number>} dropped
 * @property {Record<string, number>} quarantined
 * @property {Record<string, number>} missed
 * @property {Array<NeedDocument>} needs
 */

/**
 * @typedef {object} FileDocument
 * @property {string} path
 * @property {string} variant
 * @property {string} why
 */

/**
 * @typedef {object} Finding
 * @property {string} label
 * @property {number} confidence
 * @property {[number, number, number, number] | null} [box]
 * @property {[[number, number], [number, number], [number, number], [number, number]] | null} [corners]
 * @property {number | null} [pixels]
 * @property {number | null} [area]
 */

/**
 * @typedef {object} HeadDocument
 * @property {string} head
 * @property {Array<string>} labels
 * @property {boolean} ends_at_one
 */

/**
 * @typedef {object} HeardDocument
 * @property {string} service
 * @property {boolean} silent
 * @property {string | null} heard
 * @property {boolean} ready
 * @property {Array<LinkState>} connections
 * @property {number} omitted
 * @property {PolicyStanding | null} policy
 * @property {string | null} version
 * @property {string | null} settings_hash
 */

/**
 * @typedef {object} LinkState
 * @property {string} name
 * @property {string} target
 * @property {"CONNECTING" | "ONLINE" | "BACKOFF" | "PAUSED"} state
 * @property {boolean} required
 * @property {string} since
 * @property {string} detail
 * @property {number} attempts
 * @property {string | null} [next_try]
 */

/**
 * @typedef {object} MinuteDocument
 * @property {string} at
 * @property {number} parts
 * @property {number | null} p95_ms
 */

/**
 * @typedef {object} ModelDocument
 * @property {string} name
 * @property {string | null} version
 * @property {Array<string>} versions
 * @property {string | null} default
 * @property {string | null} wanted
 * @property {string} state
 * @property {string} detail
 * @property {boolean} changing
 * @property {RefusedDocument | null} refused
 * @property {string} task
 * @property {"image" | "tensor" | null} input
 * @property {Array<HeadDocument>} heads
 * @property {Array<string>} labels
 * @property {Array<string>} defects
 * @property {Record<string, number>} thresholds
 * @property {string | null} digest
 * @property {FileDocument | null} file
 * @property {TensorRtDocument | null} tensorrt
 * @property {string} licence
 * @property {string} description
 * @property {Record<string, unknown>} scores
 */

/**
 * @typedef {object} ModelRef
 * @property {string} name
 * @property {string | null} [version]
 * @property {string | null} [digest]
 */

/**
 * @typedef {object} ModelsDocument
 * @property {Array<ModelDocument>} models
 */

/**
 * @typedef {object} NeedDocument
 * @property {string} about
 * @property {string} what
 * @property {string} remedy
 */

/**
 * @typedef {object} Outcome
 * @property {"lineside/outcome/1"} schema
 * @property {string} request_id
 * @property {boolean} asked
 * @property {string} trigger
 * @property {string} model
 * @property {string | null} [station]
 * @property {string | null} [part_id]
 * @property {"pass" | "fail" | "unknown" | null} verdict
 * @property {"judged" | "deadline" | "disabled" | "recovered" | "refused"} origin
 * @property {string} cause
 * @property {string} reason
 * @property {string | null} [written_at]
 * @property {boolean} late
 * @property {string | null} [write_error]
 * @property {number | null} [trigger_to_verdict_ms]
 * @property {number | null} [deadline_ms]
 * @property {Times} time
 */

/**
 * @typedef {object} PartDocument
 * @property {number} number
 * @property {string} id
 * @property {string} at
 * @property {string | null} station
 * @property {string | null} part_id
 * @property {string} model
 * @property {"pass" | "fail" | "unknown"} verdict
 * @property {boolean} picture
 * @property {AskedDocument | null} request
 * @property {Result | null} result
 * @property {Outcome | null} outcome
 */

/**
 * @typedef {object} PartsDocument
 * @property {string} run
 * @property {string} started
 * @property {string} now
 * @property {number} number
 * @property {number} pictures_since
 * @property {boolean} more
 * @property {Array<PartDocument>} parts
 */

/**
 * @typedef {object} Policy
 * @property {boolean} enabled
 * @property {Record<string, number>} thresholds
 * @property {Record<string, string>} models
 * @property {Capture} capture
 */

/**
 * @typedef {object} PolicyStanding
 * @property {"shadow" | "topic" | "configuration" | "other" | null} [source]
 * @property {Array<"shadow" | "topic" | "configuration">} order
 * @property {Array<"shadow" | "topic" | "configuration">} steering
 * @property {Array<"shadow" | "topic" | "configuration">} awaited
 * @property {string | null} [etag]
 * @property {Record<string, Array<string>>} errors
 */

/**
 * @typedef {object} PreviewDocument
 * @property {number} parts
 * @property {boolean} exact
 * @property {VerdictsDocument} before
 * @property {VerdictsDocument} after
 * @property {Array<ChangedDocument>} changed
 */

/**
 * @typedef {object} ProblemDocument
 * @property {string} type
 * @property {string} title
 * @property {number} status
 * @property {string} code
 * @property {string} detail
 * @property {string | null} [request_id]
 * @property {Array<string> | null} [errors]
 */

/**
 * @typedef {object} RefusedDocument
 * @property {string} version
 * @property {string} reason
 */

/**
 * @typedef {object} Result
 * @property {"lineside/result/1"} schema
 * @property {string} id
 * @property {string} request_id
 * @property {"ok" | "rejected" | "failed" | "expired" | "disabled"} status
 * @property {"pass" | "fail" | "unknown"} verdict
 * @property {string} reason
 * @property {string | null} [code]
 * @property {ModelRef | null} [model]
 * @property {Array<Finding>} findings
 * @property {number} findings_omitted
 * @property {Record<string, number>} scores
 * @property {Timing} timing_ms
 * @property {number | null} [frame_age_ms]
 * @property {string | null} [evidence_id]
 * @property {Context} context
 * @property {Times} time
 * @property {string | null} [traceparent]
 */

/**
 * @typedef {object} TensorRtDocument
 * @property {"serves" | "proving" | "building" | "waiting" | "refused" | "failed" | "none"} state
 * @property {string} why
 */

/**
 * @typedef {object} Times
 * @property {string | null} [source]
 * @property {string | null} [server]
 * @property {string | null} [received]
 * @property {string | null} [published]
 */

/**
 * @typedef {object} Timing
 * @property {number | null} [queued]
 * @property {number | null} [source]
 * @property {number | null} [decode]
 * @property {number | null} [infer]
 * @property {number | null} [interpret]
 * @property {number | null} [capture]
 * @property {number | null} [total]
 */

/**
 * @typedef {object} VerdictsDocument
 * @property {number} pass
 * @property {number} fail
 * @property {number} unknown
 */

/**
 * @typedef {object} WaitingDocument
 * @property {number} records
 * @property {number} bytes
 * @property {string | null} oldest
 * @property {number} share
 * @property {number} used_bytes
 * @property {number} most_bytes
 * @property {number} free_bytes
 */

export {};
