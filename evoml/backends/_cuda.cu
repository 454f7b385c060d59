// Interprets programs: one thread runs one program on one task, as reference.py defines it.
//
// Compiled behind definitions of T (the element type), F (the length of a vector), SCALARS, VECTORS and MATRICES (the size of a program's
// memory), one module for each combination. The operations' cases are generated from the operation table. There is nothing to include, and
// nothing may be contracted or reordered: double gives the reference's results up to the library functions.
//
// The 32 threads of a warp are 32 tasks of one program, so that they decode the same instruction. A warp's memory is [element, thread]:
// what its threads read and write together lies side by side.

#define WARP 32
#define SCALAR(address) (memory + (address) * WARP)
#define VECTOR(address) (memory + (SCALARS + (address) * F) * WARP)
#define MATRIX(address) (memory + (SCALARS + VECTORS * F + (address) * F * F) * WARP)
#define SCRATCH MATRIX(MATRICES)
#define SIZE (SCALARS + VECTORS * F + (MATRICES + 1) * F * F)
#define NOT_A_NUMBER 0xFFF8000000000000ull

typedef unsigned long long u64;
typedef long long i64;

// 64 random bits: output number `counter` of SplitMix64 (Steele, Lea, Flood 2014).
static __device__ u64 noise(u64 seed, u64 counter) {
    u64 z = seed + counter * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// Uniform in [0, 1), with as many bits as the type holds.
static __device__ T uniform(u64 bits) {
    return sizeof(T) == 8 ? T(bits >> 11) * T(1.1102230246251565e-16) : T(bits >> 40) * T(5.9604644775390625e-08);
}

// Standard normal, by Box and Muller from the two halves of the bits.
static __device__ T gaussian(u64 bits) {
    const T radius = (T(bits >> 32) + T(0.5)) * T(2.3283064365386963e-10);
    const T angle = T(bits & 0xFFFFFFFFull) * T(1.4629180792671596e-09);
    return sqrt(T(-2) * log(radius)) * cos(angle);
}

static __device__ T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }

// floor(F * x) in single precision, at most F - 1.
static __device__ int element(T x) {
    const int at = int(float(F) * float(x));
    return at < F - 1 ? at : F - 1;
}

// Run instructions `begin`..`end`. A word of `code` is operation, a, b, out, a byte each from the lowest; constants are x, y, z of every
// instruction; step: how many functions this program ran before, from which noise derives.
static __device__ __noinline__ void run(
    T* memory, const unsigned* __restrict__ code, const T* __restrict__ constants, int begin, int end, u64 seed, u64 step
) {
    for (int at = begin; at < end; ++at) {
        const unsigned word = code[at], first = word >> 8 & 255, second = word >> 16 & 255, last = word >> 24;
        const u64 count = ((step << 10) + u64(at)) << 20;
        switch (word & 255) {
//cases
        }
    }
}

struct Outcome {
    double fitness;  // of the best epoch, 0 before one is complete
    i64 trained;     // training steps
    u64 hash;        // of the first epoch's absolute errors
    int errors;      // how many the hash has seen
};

static __device__ void record(Outcome& outcome, u64 bits) {
    const u64 mixed = (outcome.hash ^ bits) * 0x9E3779B97F4A7C15ull;
    outcome.hash = mixed ^ (mixed >> 29);
    ++outcome.errors;
}

// Whether the run goes on after this error; if it does, the hash sees it.
static __device__ bool passes(Outcome& outcome, T error, T limit) {
    if (!(error <= limit)) return false;
    record(outcome, u64(__double_as_longlong(double(error))));
    return true;
}

struct Program {
    const unsigned* code;
    const T* constants;
    const int* ends;  // where setup, predict and learn end
};

// What all tasks share, and pointers to their data: [example, feature, task] and [example, task].
struct Data {
    const T *train_x, *train_y, *later_x, *later_y, *valid_x, *valid_y;
    int tasks, train, valid, epochs, classify;
    T limit;
};

static __device__ void show(T* memory, const T* x, i64 example, T label, int tasks) {
    T row[F];
    for (int i = 0; i < F; ++i) row[i] = x[(example * F + i) * tasks];
    for (int i = 0; i < F; ++i) VECTOR(0)[i * WARP] = row[i];
    *SCALAR(0) = label;
}

// Train and validate one program on one task, until its end or the first error above the limit.
static __device__ void evaluate_one(const Program& program, const Data& data, T* memory, u64 seed, Outcome& outcome) {
    const int *ends = program.ends, tasks = data.tasks;
    u64 step = 0;
    for (int i = 0; i < SIZE; ++i) memory[i * WARP] = T(0);
    run(memory, program.code, program.constants, 0, ends[0], seed, step);
    for (int epoch = 0; epoch < (data.train > 0 ? data.epochs : 0); ++epoch) {
        const T *x = epoch ? data.later_x : data.train_x, *y = epoch ? data.later_y : data.train_y;
        for (i64 n = 0; n < data.train; ++n) {
            const T label = y[n * tasks];
            show(memory, x, n, T(0), tasks);
            ++outcome.trained;
            run(memory, program.code, program.constants, ends[0], ends[1], seed, ++step);
            if (data.classify) *SCALAR(1) = sigmoid(*SCALAR(1));
            if (!passes(outcome, fabs(label - *SCALAR(1)), data.limit)) return;
            show(memory, x, n, label, tasks);
            run(memory, program.code, program.constants, ends[1], ends[2], seed, ++step);
        }
        double loss = 0.0;
        for (i64 m = 0; m < data.valid; ++m) {
            const T label = data.valid_y[m * tasks];
            show(memory, data.valid_x, m, T(0), tasks);
            run(memory, program.code, program.constants, ends[0], ends[1], seed, ++step);
            const T prediction = *SCALAR(1);
            const T error = data.classify ? T((label > T(0.5)) != (sigmoid(prediction) > T(0.5))) : fabs(label - prediction);
            if (!passes(outcome, error, data.limit)) return;
            loss += double(error) * double(error);
        }
        const double mean = loss / data.valid;
        const double fitness = data.classify ? 1.0 - mean : 1.0 - 0.6366197723675814 * atan(sqrt(mean));
        if (fitness > outcome.fitness) outcome.fitness = fitness;
    }
}

// Run programs `which` [n] on all tasks. code: [programs, length]; constants: [programs, length, 3]; ends: [programs, 3]; seeds: [tasks];
// workspace: SIZE * WARP elements a warp of the grid; fitness, hashes, trained: [n, tasks]. Blocks are WARP tasks wide and up to 4 warps high;
// the grid is as large as the workspace allows, and every warp takes one program and WARP tasks after the other. The launch bounds hold the
// registers down to what lets a multiprocessor run 16 warps.
extern "C" __global__ void __launch_bounds__(128, 4) evaluate(
    const unsigned* __restrict__ code, const T* __restrict__ constants, const int* __restrict__ ends, const int* __restrict__ which, int n,
    int length, const T* __restrict__ train_x, const T* __restrict__ train_y, const T* __restrict__ later_x, const T* __restrict__ later_y,
    const T* __restrict__ valid_x, const T* __restrict__ valid_y, const u64* __restrict__ seeds, int tasks, int train, int valid, int epochs,
    int classify, double limit, T* workspace, double* fitness, u64* hashes, i64* trained
) {
    const i64 warp = i64(blockIdx.x) * blockDim.y + threadIdx.y, warps = i64(gridDim.x) * blockDim.y;
    const int groups = (tasks + WARP - 1) / WARP;
    T* memory = workspace + warp * SIZE * WARP + threadIdx.x;
    for (i64 item = warp; item < i64(n) * groups; item += warps) {
        const i64 index = item / groups, task = item % groups * WARP + threadIdx.x;
        if (task >= tasks) continue;
        const i64 number = which[index];
        const Program program = {code + number * length, constants + number * length * 3, ends + number * 3};
        const Data data = {train_x + task, train_y + task, later_x + task, later_y + task, valid_x + task, valid_y + task,
                           tasks, train, valid, epochs, classify, T(limit)};
        Outcome outcome = {0.0, 0, 0x2545F4914F6CDD1Dull, 0};
        evaluate_one(program, data, memory, seeds[task], outcome);
        while (outcome.errors < train + valid) record(outcome, NOT_A_NUMBER);
        fitness[index * tasks + task] = outcome.fitness;
        hashes[index * tasks + task] = outcome.hash;
        trained[index * tasks + task] = outcome.trained;
    }
}
