// Steps networks of single neurons: one thread runs one network on one lane, an input or an episode, as reference.py defines it.
//
// Compiled behind a definition of T (the element type). The functions of nodes are generated from evoml/activations.py. Nothing may be
// contracted or reordered: double gives the reference's results up to the library functions.
//
// Memory is [network, slot, lane]: what neighbouring threads read and write together lies side by side.

typedef unsigned char u8;
typedef long long i64;

static __device__ T activated(int kind, T a) {
    switch (kind) {
//activations
    }
    return a;
}

static __device__ T folded(int kind, T out, T a) {
    switch (kind) {
//aggregations
    }
    return a;
}

static __device__ bool averaged(int kind) { return //means
}

struct Graphs {
    const i64* nodes;
    const int* slot;
    const u8 *activation, *aggregation;
    const i64* links;
    const int* source;
    const T* weight;
};

// A node's value from the old ones; a node without links is 0.
static __device__ T value(const Graphs& graphs, i64 row, const T* old, int lanes) {
    const i64 first = graphs.links[row], last = graphs.links[row + 1];
    const int kind = graphs.aggregation[row];
    if (first == last) return T(0);
    T out = graphs.weight[first] * old[i64(graphs.source[first]) * lanes];
    for (i64 link = first + 1; link < last; ++link) out = folded(kind, out, graphs.weight[link] * old[i64(graphs.source[link]) * lanes]);
    if (averaged(kind)) out = out / T(last - first);
    return activated(graphs.activation[row], out);
}

// Step the networks `which` [n]. x: [I, lanes], of network number p of them from p * stride on; memory, scratch: [n, slots, lanes], scratch being
// used by recurrent networks alone; fresh: whether memory is to be zero at the start; out: [n, O, lanes].
extern "C" __global__ void evaluate(
    const i64* __restrict__ nodes, const int* __restrict__ slot, const u8* __restrict__ activation, const u8* __restrict__ aggregation,
    const i64* __restrict__ links, const int* __restrict__ source, const T* __restrict__ weight, const int* __restrict__ which, int n,
    int slots, int lanes, int inputs, int outputs, int recurrent, int sweeps, int fresh, i64 stride, double bias, const T* __restrict__ x,
    T* memory, T* scratch, double* out
) {
    const i64 thread = (i64(blockIdx.x) * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    if (thread >= i64(n) * lanes) return;
    const i64 index = thread / lanes, lane = thread % lanes;
    const Graphs graphs = {nodes, slot, activation, aggregation, links, source, weight};
    const i64 first = nodes[which[index]], last = nodes[which[index] + 1];
    T *own = memory + index * slots * lanes + lane, *next = recurrent ? scratch + index * slots * lanes + lane : own;
    for (int i = 0; i < inputs; ++i) own[i64(i) * lanes] = x[index * stride + i64(i) * lanes + lane];
    own[i64(inputs) * lanes] = T(bias);
    if (fresh)
        for (i64 at = inputs + 1; at < slots; ++at) own[at * lanes] = T(0);
    for (int sweep = 0; sweep < sweeps; ++sweep) {
        for (i64 row = first; row < last; ++row) next[i64(slot[row]) * lanes] = value(graphs, row, own, lanes);
        if (recurrent)
            for (i64 row = first; row < last; ++row) own[i64(slot[row]) * lanes] = next[i64(slot[row]) * lanes];
    }
    for (int o = 0; o < outputs; ++o) out[(index * outputs + o) * lanes + lane] = double(own[i64(inputs + 1 + o) * lanes]);
}
