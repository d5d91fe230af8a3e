// y[n,c,0,0] = sum over h, w of x[n,c,h,w] / (H*W)
#include "ir/op.h"

namespace cnnc {

extern const OpDef op_global_avg_pool{
    .name = "global_avg_pool",
    .doc = "the mean of each channel, as a picture of one point",
    .inputs = {"x[N,C,H,W]"},
    .outputs = {"y[N,C,1,1]"},
    .checks = {{"H >= 1 and W >= 1", "the picture has no points"}},
    .formula = "s[n,c] += x[n,c,h,w]\n"
               "y[n,c,0,0] = s[n,c] / (H*W)",
};

} // namespace cnnc
