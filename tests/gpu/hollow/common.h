/* What the hollow libraries share: counts of calls, and the facts of the device that they show. */
#ifndef HOLLOW_COMMON_H
#define HOLLOW_COMMON_H

#include <stddef.h>

enum hollow_kind {
    HOLLOW_LAUNCH,          /* a kernel outside of a capture */
    HOLLOW_CAPTURED_LAUNCH, /* a kernel that becomes a part of a CUDA graph */
    HOLLOW_GRAPH_LAUNCH,
    HOLLOW_CAPTURE,         /* the recording of a CUDA graph */
    HOLLOW_SYNCHRONISATION, /* the host waits for the device */
    HOLLOW_PAGEABLE_COPY,   /* to or from pageable memory, for which the host waits as well */
    HOLLOW_COPY,
    HOLLOW_REFUSED,         /* a call that is not allowed while a graph is recorded */
    HOLLOW_COLLECTIVE,
    HOLLOW_KINDS
};

#define HOLLOW_NAME "NVIDIA Hollow H100"
#define HOLLOW_DRIVER "580.159.04"
#define HOLLOW_VERSION 13020
#define HOLLOW_CAPABILITY_MAJOR 9
#define HOLLOW_CAPABILITY_MINOR 0
#define HOLLOW_TOTAL_BYTES ((size_t)80 << 30)
#define HOLLOW_FREE_BYTES ((size_t)79 << 30)

void hollow_count(enum hollow_kind kind);
void hollow_launch(void); /* counts a kernel, as captured while a capture goes on */
void hollow_capture(int begins);
int hollow_is_capturing(void);

int hollow_devices(void); /* of HOLLOW_GPUS, else 1 */
int hollow_attribute(int attribute); /* by the numbers that driver and runtime share */
void *hollow_object(void); /* an object of which nobody looks inside */

#endif
