/* libnccl.so.2: communicators of any size; collectives return at once and move nothing. Without
 * nccl.h, which includes what not every torch brings. */
#include "common.h"

#include <string.h>

typedef int Result; /* 0 is success */
struct unique_id { char bytes[128]; };

static Result give(void **communicator)
{
    *communicator = hollow_object();
    return 0;
}

Result ncclGetVersion(int *version) { *version = 23007; return 0; }
Result ncclGetUniqueId(struct unique_id *id) { memset(id, 1, sizeof *id); return 0; }

Result ncclCommInitRank(void **communicator, int size, struct unique_id id, int rank)
{
    (void)size, (void)id, (void)rank;
    return give(communicator);
}

Result ncclCommInitRankConfig(void **communicator, int size, struct unique_id id, int rank,
                              void *config)
{
    (void)config;
    return ncclCommInitRank(communicator, size, id, rank);
}

Result ncclCommInitRankScalable(void **communicator, int size, int rank, int count, void *ids,
                                void *config)
{
    (void)size, (void)rank, (void)count, (void)ids, (void)config;
    return give(communicator);
}

Result ncclCommSplit(void *communicator, int colour, int key, void **part, void *config)
{
    (void)communicator, (void)colour, (void)key, (void)config;
    return give(part);
}

Result ncclCommGetAsyncError(void *communicator, Result *error)
{
    (void)communicator;
    *error = 0;
    return 0;
}

Result ncclCommCount(void *communicator, int *size)
{
    (void)communicator;
    *size = hollow_devices();
    return 0;
}

const char *ncclGetErrorString(Result error) { return error ? "hollow" : "no error"; }
const char *ncclGetLastError(void *communicator) { (void)communicator; return ""; }
