/* libnvidia-ml.so.1: the facts of the devices, as `pipeline.machine` and torch read them. */
#include "common.h"

#include <stdint.h>
#include <stdio.h>

typedef void *Device; /* its number, counted from 1 */
typedef unsigned int Size;

static int text(char *target, Size size, const char *value)
{
    snprintf(target, size, "%s", value);
    return 0;
}

int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(Size flags) { (void)flags; return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { return error ? "hollow" : "Success"; }
int nvmlSystemGetDriverVersion(char *version, Size size) { return text(version, size, HOLLOW_DRIVER); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = HOLLOW_VERSION; return 0; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = HOLLOW_VERSION; return 0; }
int nvmlDeviceGetCount_v2(Size *count) { *count = (Size)hollow_devices(); return 0; }

int nvmlDeviceGetHandleByIndex_v2(Size index, Device *device)
{
    *device = (Device)(uintptr_t)(index + 1);
    return 0;
}

int nvmlDeviceGetIndex(Device device, Size *index)
{
    *index = (Size)(uintptr_t)device - 1;
    return 0;
}

int nvmlDeviceGetUUID(Device device, char *uuid, Size size)
{
    snprintf(uuid, size, "GPU-%08x-0000-0000-0000-000000000000", (Size)(uintptr_t)device);
    return 0;
}

int nvmlDeviceGetName(Device device, char *name, Size size)
{
    (void)device;
    return text(name, size, HOLLOW_NAME);
}

int nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor)
{
    (void)device;
    *major = HOLLOW_CAPABILITY_MAJOR;
    *minor = HOLLOW_CAPABILITY_MINOR;
    return 0;
}

int nvmlDeviceGetMemoryInfo(Device device, unsigned long long total_free_used[3])
{
    (void)device;
    total_free_used[0] = HOLLOW_TOTAL_BYTES;
    total_free_used[1] = HOLLOW_FREE_BYTES;
    total_free_used[2] = HOLLOW_TOTAL_BYTES - HOLLOW_FREE_BYTES;
    return 0;
}
