// Enough of CUDA C to compile the backend's source for the host, one thread after the other.

#include <cmath>
#include <cstring>
#include <utility>

using std::acos, std::asin, std::atan, std::cos, std::exp, std::fabs, std::log, std::sin, std::sqrt, std::tan;

#define __device__
#define __global__
#define __launch_bounds__(...)
#define __noinline__ __attribute__((noinline))

struct Index {
    unsigned x, y;
};
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

static inline long long __double_as_longlong(double value) {
    long long bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

template <class... P, std::size_t... I>
static void loop(void (*kernel)(P...), unsigned grid, unsigned wide, unsigned high, void** arguments, std::index_sequence<I...>) {
    gridDim = {grid, 1}, blockDim = {wide, high}, blockIdx.y = 0;
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
        for (threadIdx.y = 0; threadIdx.y < high; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < wide; ++threadIdx.x) kernel(*static_cast<P*>(arguments[I])...);
}

// Run a kernel on every thread of a grid; arguments: pointers to the values, as cuLaunchKernel takes them.
template <class... P>
static void launch(void (*kernel)(P...), unsigned grid, unsigned wide, unsigned high, void** arguments) {
    loop(kernel, grid, wide, high, arguments, std::index_sequence_for<P...>());
}
