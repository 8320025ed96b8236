/* libnccl.so.2: communicators of any size; collectives return at once and move nothing. */
#include "common.h"

#include <nccl.h>
#include <string.h>

static ncclResult_t give(ncclComm_t *communicator)
{
    *communicator = hollow_object();
    return ncclSuccess;
}

ncclResult_t ncclGetVersion(int *version) { *version = NCCL_VERSION_CODE; return ncclSuccess; }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    memset(id, 1, sizeof *id);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *communicator, int size, ncclUniqueId id, int rank)
{
    (void)size, (void)id, (void)rank;
    return give(communicator);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *communicator, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    (void)size, (void)id, (void)rank, (void)config;
    return give(communicator);
}

ncclResult_t ncclCommInitRankScalable(ncclComm_t *communicator, int size, int rank, int ids,
                                      ncclUniqueId *all, ncclConfig_t *config)
{
    (void)size, (void)rank, (void)ids, (void)all, (void)config;
    return give(communicator);
}

ncclResult_t ncclCommSplit(ncclComm_t communicator, int colour, int key, ncclComm_t *part,
                           ncclConfig_t *config)
{
    (void)communicator, (void)colour, (void)key, (void)config;
    return give(part);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t *error)
{
    (void)communicator;
    *error = ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t communicator, int *size)
{
    (void)communicator;
    *size = hollow_devices();
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t error) { return error ? "hollow" : "no error"; }
const char *ncclGetLastError(ncclComm_t communicator) { (void)communicator; return ""; }
