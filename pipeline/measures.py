"""The quantities that a gate can bound, by the names they have in [gates] and in the report."""

MEASURES: dict[str, str] = {
    "teacher_top1": "share of held-out images that the teacher gets right",
    "student_top1": "share of held-out images that the student gets right",
    "engine_top1": "share of held-out images that the engine gets right",
    "student_top1_drop": "teacher's top-1 less the student's, on the same images",
    "onnx_top1_drop": "student's top-1 less the ONNX file's, on the same images",
    "engine_top1_drop": "student's top-1 less the engine's, on the same images",
    "student_agreement": "share of held-out images on which student and teacher say the same",
    "engine_agreement": "share of held-out images on which engine and teacher say the same",
    "speedup": "teacher's latency over the engine's, at batch size 1 (else the first)",
    "engine_p50_ms": "median latency of the engine, at batch size 1 (else the first)",
    "engine_bytes": "size of the engine",
}
