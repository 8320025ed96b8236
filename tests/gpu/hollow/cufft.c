/* libcufft.so.12: plans that need no memory; transforms are counted and not computed. */
#include "common.h"

int cufftCreate(int *plan) { *plan = 1; return 0; }
int cufftXtMakePlanMany(int plan, int rank, void *sizes, void *input, long long input_stride,
                        long long input_distance, int input_type, void *output,
                        long long output_stride, long long output_distance, int output_type,
                        long long batch, size_t *work_bytes, int type)
{
    (void)plan, (void)rank, (void)sizes, (void)input, (void)input_stride, (void)input_distance;
    (void)input_type, (void)output, (void)output_stride, (void)output_distance, (void)output_type;
    (void)batch, (void)type;
    *work_bytes = 0;
    return 0;
}
