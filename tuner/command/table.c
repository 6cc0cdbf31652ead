/* The table of flags, of which those of a problem stand in the table of problem fields, and the table of verbs. */
#include "tuner/command/table.h"

#include <string.h>

#include "generator/problem/field.h"

enum {
  SCORE = ATTUNE_TAKES_SCORE,
  PROBLEM = ATTUNE_TAKES_PROBLEM | ATTUNE_TAKES_BLOCKS,
  LENGTHS = ATTUNE_TAKES_LENGTHS,
  DEVICE = ATTUNE_TAKES_DEVICE,
  ARCH = ATTUNE_TAKES_ARCH,
  FAMILY = ATTUNE_TAKES_FAMILY,
  CONFIG = ATTUNE_TAKES_CONFIG,
  DATABASE = ATTUNE_TAKES_DATABASE,
  INPUT = ATTUNE_TAKES_INPUT,
  OUTPUT = ATTUNE_TAKES_OUTPUT,
  WORKLOAD = ATTUNE_TAKES_WORKLOAD,
  SEARCH = ATTUNE_TAKES_SEARCH,
  SEED = ATTUNE_TAKES_SEED,
  COMMON = ATTUNE_TAKES_COMMON,
  CARD = ATTUNE_TAKES_CARD
};

/* ---- flags ---- */

static const char *const efforts[] = {"quick", "normal", "sample", "exhaustive", NULL};
static const char *families[ATTUNE_FAMILY_COUNT + 1]; /* filled when they are asked for */

static const attune_flag table[ATTUNE_FLAG_COUNT] = {
    [ATTUNE_FLAG_PROBLEM] = {"problem", "FILE|TEXT", ATTUNE_TAKES_SHAPE,
                             "a JSON file (-: standard input), or forward.bf16.d128...; flags change it", NULL},
    [ATTUNE_FLAG_BLOCK_SIZE] = {"block-size", "N", ATTUNE_TAKES_BLOCKS,
                                "queries and keys of a block: of block_mask, of what explain counts (128)", NULL},
    [ATTUNE_FLAG_SEQLENS_Q] = {"seqlens-q", "N,N,...", LENGTHS,
                               "queries of each sequence, at most --seqlen-q (lengths are drawn)", NULL},
    [ATTUNE_FLAG_SEQLENS_K] = {"seqlens-k", "N,N,...", LENGTHS, "keys of each sequence, at most --seqlen-k", NULL},
    [ATTUNE_FLAG_DEVICE] = {"device", "cuda:N|host", DEVICE, "where it runs (cuda:0 if there is one, else host)", NULL},
    [ATTUNE_FLAG_ARCH] = {"arch", "sm_90|host", ARCH, "an architecture that need not be present (the device's)", NULL},
    [ATTUNE_FLAG_LIKE] = {"like", "CARD", CARD, "a card that need not be present: a10, rtx4090 ... (? lists them)",
                          NULL},
    [ATTUNE_FLAG_SM_COUNT] = {"sm-count", "SMs", CARD,
                              "SMs of the card of --like or --arch, for one that is not listed", NULL},
    [ATTUNE_FLAG_BANDWIDTH] = {"bandwidth", "GB/s", CARD, "its memory's bandwidth", NULL},
    [ATTUNE_FLAG_CLOCK] = {"clock", "MHz", CARD, "its SMs' clock under load", NULL},
    [ATTUNE_FLAG_FAMILY] = {"family", "NAME", FAMILY, "only this family of kernels: wgmma, mma or reference", families},
    [ATTUNE_FLAG_CONFIG] = {"config", "TEXT", CONFIG, "this config, as other verbs print it", NULL},
    [ATTUNE_FLAG_DATABASE] = {"database", "PATH", DATABASE, "the store ($ATTUNE_DATABASE, else the XDG cache folder)",
                              NULL},
    [ATTUNE_FLAG_INPUT] = {"input", "FILE", INPUT, "what is read (-: standard input)", NULL},
    [ATTUNE_FLAG_OUTPUT] = {"output", "FILE", OUTPUT, "what is written (-: standard output)", NULL},
    [ATTUNE_FLAG_WORKLOAD] = {"workload", "FILE|NAME", WORKLOAD,
                              "a list of problems: JSON (-: standard input), or one that ships", NULL},
    [ATTUNE_FLAG_BUDGET] = {"budget", "TIME", SEARCH, "per problem, compiling included: 90s, 10m, 1h (none)", NULL},
    [ATTUNE_FLAG_EFFORT] = {"effort", "quick|normal|sample|exhaustive", SEARCH,
                            "how much of the space is tried (normal)", efforts},
    [ATTUNE_FLAG_FORCE] = {"force", NULL, SEARCH, "measure again what the store has", NULL},
    [ATTUNE_FLAG_SEED] = {"seed", "N", SEED, "of inputs and of the simulator's schedule (0)", NULL},
    [ATTUNE_FLAG_JOBS] = {"jobs", "N", SEARCH, "kernels compiled at a time (all cores)", NULL},
    [ATTUNE_FLAG_JSON] = {"json", NULL, COMMON, "results as one JSON document", NULL},
    [ATTUNE_FLAG_HELP] = {"help", NULL, COMMON, "this", NULL},
};

attune_flag attune_flag_of(attune_flag_id id) {
  for (int i = 0; id == ATTUNE_FLAG_FAMILY && i < ATTUNE_FAMILY_COUNT; i++)
    families[i] = attune_family_name((attune_family)i);
  return table[id];
}

attune_flag attune_flag_at(int number) {
  if (number >= attune_problem_field_count)
    return attune_flag_of((attune_flag_id)(number - attune_problem_field_count));
  const attune_problem_field *field = &attune_problem_fields[number];
  return (attune_flag){field->flag, field->argument,
                       field->flag == NULL ? 0
                       : field->size       ? ATTUNE_TAKES_SHAPE
                                           : ATTUNE_TAKES_SCORE,
                       field->meaning, field->argument != NULL ? field->words : NULL};
}

int attune_flag_count(void) {
  return attune_problem_field_count + ATTUNE_FLAG_COUNT;
}

void attune_flag_names(const char *out[ATTUNE_FLAGS_MAX], int groups) {
  int count = 0;
  for (int i = 0; i < attune_flag_count(); i++) {
    const attune_flag flag = attune_flag_at(i);
    if (flag.name != NULL && (flag.groups & groups) != 0 && count + 1 < ATTUNE_FLAGS_MAX) out[count++] = flag.name;
  }
  out[count] = NULL;
}

/* ---- verbs ---- */

#define TAKES_WORKLOADS " --workload takes a list of problems instead of one: see attune help workloads."

static const attune_action store_actions[] = {
    {"info", "", "where the store is, how much is in it, and what an upgrade of Attune has outdated (the default)", 1,
     1},
    {"list", "[rows]",
     "the choices, which dispatch answers with; with the word rows every measurement, failures too. --problem (or its "
     "flags), --device, --arch and --config say of which",
     1, 2},
    {"export", "[FILE]",
     "measurements, from which choices follow, as JSON, to FILE or standard output; kernels are compiled anew", 1, 2},
    {"import", "FILE", "adds the rows of an exported file; those that are there already are left out", 2, 2},
    {"forget", "[all]",
     "deletes rows, and kernels where no problem is said: those of --problem (or its flags), --device, --arch or "
     "--config; the word "
     "all deletes everything",
     1, 2},
    {"path", "", "prints the path of the file that is written", 1, 1},
    {NULL, NULL, NULL, 0, 0},
};

static const attune_action help_actions[] = {
    {"VERB", "", "the same as attune VERB --help", 1, 1},
    {"workloads", "", "the format of --workload, and the ones that ship", 1, 1},
    {"stores", "", "how tuned kernels get to other machines", 1, 1},
    {"configs", "", "what the words of a config mean", 1, 1},
    {"man", "", "everything, as a man page", 1, 1},
    {NULL, NULL, NULL, 0, 0},
};

static const attune_action completion_actions[] = {
    {"bash", "", "put  source <(attune completion bash)  into ~/.bashrc", 1, 1},
    {"zsh", "", "put  source <(attune completion zsh)  into ~/.zshrc", 1, 1},
    {NULL, NULL, NULL, 0, 0},
};

const attune_verb attune_verbs[] = {
    {"devices", "what is here: devices, compilers, the store", DATABASE,
     "Lists the CUDA devices of this machine and the simulator, which runs the same kernels on the CPU, with their "
     "limits; then NVRTC, which compiles for GPUs, the C++ compiler, which the simulator needs, and the store. What is "
     "missing is told on standard error, with what to do.",
     NULL},
    {"emit", "the source of a kernel", PROBLEM | DEVICE | ARCH | CARD | FAMILY | CONFIG | OUTPUT,
     "Prints the source of the kernel for a problem: CUDA C++ that compiles with no include path, or with --arch host "
     "the C++ that the simulator runs. --output FILE writes it there. Without --config it is the config that the model "
     "takes for the best. With --config and no problem flag the config alone says what for. A backward pass has "
     "several: it is the one for dK and dV, which names the others; --config with their names prints them.",
     NULL},
    {"compile", "a kernel for an architecture: registers, shared memory, spills, seconds",
     PROBLEM | DEVICE | ARCH | CARD | FAMILY | CONFIG | OUTPUT,
     "Compiles the kernels for a problem and prints what they need, and how many blocks an SM holds. No device of the "
     "architecture is needed. --output FILE writes the binary. With --config and no problem flag the config alone says "
     "what for.",
     NULL},
    {"run", "attention of the tensors of a file",
     SCORE | ATTUNE_TAKES_BLOCKS | DEVICE | FAMILY | CONFIG | DATABASE | INPUT | OUTPUT | SEED,
     "Computes attention of q, k and v of a safetensors file, each of shape (batch, seqlen, heads, head_dim) in F32, "
     "F16 or BF16, and writes o in the type of q, and lse as F32 (batch, heads, seqlen_q). --dtype is the type that it "
     "is computed in: that of q if not given, bf16 for F32.\n"
     "If the file has them, bias (batch or 1, heads or 1, seqlen_q or 1, seqlen_k) is added to the scores, sinks "
     "(heads) are further keys, I32 or F32 tensors param.NAME are arrays that expressions know by NAME, and "
     "block_mask, U8 or BOOL (batch or 1, heads or 1, rows, columns), says which blocks of --block-size queries and "
     "keys are seen. Nothing is written if anything fails.\n"
     "--backward also writes dq, dk and dv, as their tensors are, from do, the gradient of o in the shape of o, and "
     "dlse if the file has it; with --dbias, --dsinks and --dparams also dbias, dsinks and dparam.NAME. It reads o and "
     "lse too; where the file has neither, they are computed first.",
     NULL},
    {"verify", "whether a kernel is right, against float64",
     PROBLEM | LENGTHS | DEVICE | FAMILY | CONFIG | DATABASE | INPUT | SEED,
     "Runs the kernel for a problem, the one that a plan would take or that of --config or --family, and checks what "
     "it writes. error: the largest error against float64. allowed: twice unfused, of gradients three times, plus "
     "1e-5. unfused: the largest "
     "error of the same computation step by step in the same dtype. lse error: that of the log-sum-exp. rows: how many "
     "were compared. Everything must be written, and nothing else.\n"
     "Inputs are drawn from --seed: usual ones, huge and tiny ones, biases that hide keys, and sequences with lengths "
     "of their own; or are q, k and v of --input FILE, with --backward also its do and dlse. O and LSE, which the "
     "gradients need, are computed in float64, of a large problem by the reference kernel. Gradients are allowed three "
     "times unfused. --seqlens-q and --seqlens-k "
     "give the lengths instead. Exit code 1 if the kernel is "
     "wrong.",
     NULL},
    {"tune", "the fastest kernel for a problem or a workload, measured and stored",
     PROBLEM | DEVICE | ARCH | CARD | FAMILY | DATABASE | WORKLOAD | SEARCH | SEED,
     "Tries configs, the most promising first, and stores every result at once, so that the same command goes on from "
     "there after Ctrl-C or a spent budget." TAKES_WORKLOADS
     " attune help workloads also says what many lengths need.\n"
     "--effort: quick tries the default and a dozen others; normal about 80, first of different tile sizes, then "
     "around "
     "the best; sample about 500 that --seed draws, which shows what normal may have missed; exhaustive all. "
     "Without a GPU the model chooses, whatever the effort.\n"
     "--budget bounds a problem's time, compiling included: a batch is begun only where it should fit, by what earlier "
     "ones took. The least that is done is the default config and a final comparison.\n"
     "default, tuned, worst: times of the default config, of the chosen one, of the slowest one that works; gain: "
     "default over tuned. error: the chosen kernel's largest error against float64; allowed: twice that of the unfused "
     "computation in the same dtype, of gradients three times, plus 1e-5. by: measured, or model where there is no "
     "GPU.",
     NULL},
    {"explain", "which kernel a problem gets, and why", PROBLEM | DEVICE | ARCH | CARD | DATABASE | WORKLOAD,
     "Prints the config that dispatch answers with, which source it comes from (exact: measured for this problem on "
     "this device; near-problem, near-device; model: an estimate; reference), how much a mask leaves, the work and "
     "the kernels that do it, and the rows that the store has." TAKES_WORKLOADS "\n"
     "Blocks of a mask are counted for about a second at most, in evaluated parts of its expression; beyond, the "
     "counts are those of a sample, which is said.",
     NULL},
    {"bench", "how fast kernels are", PROBLEM | DEVICE | FAMILY | CONFIG | DATABASE | WORKLOAD | SEED,
     "Verifies the kernel that dispatch answers with, or that of --config or --family, and times it. "
     "With --config and no problem flag the config alone says what for." TAKES_WORKLOADS "\n"
     "median: of the time; +-: half of its 95% interval. TFLOP/s counts keys that are seen; it is - with a "
     "mask expression or a block mask. GB/s counts each tensor once. floor: the least time that the device's peak "
     "rates "
     "allow for these operations and bytes, as a share of the median; 100% cannot be beaten. error: the largest error "
     "against float64; allowed: twice that of the unfused "
     "computation in the same dtype, of gradients three times, plus 1e-5.",
     NULL},
    {"store", "what is stored; in and out as JSON", PROBLEM | DEVICE | ARCH | CONFIG | DATABASE,
     "Shows and changes the store of tuned kernels. attune help stores says how it gets to other machines.",
     store_actions},
    {"completion", "completion of verbs, flags and values for a shell", 0, "Prints a script for the shell.",
     completion_actions},
    {"help", "this, or that of a verb", 0, "Prints what --help prints, and more.", help_actions},
    {NULL, NULL, 0, NULL, NULL},
};

const attune_verb *attune_verb_of(const char *name) {
  for (const attune_verb *verb = attune_verbs; verb->name != NULL; verb++)
    if (strcmp(verb->name, name) == 0) return verb;
  return NULL;
}

void attune_verb_names(const char *out[ATTUNE_FLAGS_MAX]) {
  int count = 0;
  for (; attune_verbs[count].name != NULL; count++)
    out[count] = attune_verbs[count].name;
  out[count] = NULL;
}

void attune_action_names(const char *out[ATTUNE_FLAGS_MAX], const attune_verb *verb) {
  int count = 0;
  for (; verb->actions != NULL && verb->actions[count].name != NULL; count++)
    out[count] = verb->actions[count].name;
  out[count] = NULL;
}

/* ---- for all verbs ---- */

const char attune_exit_codes[] =
    "0: done. 1: it could not be done, or a kernel is wrong. 2: what was asked for cannot be meant. 130: interrupted. "
    "Results go to standard output, progress and faults to standard error; with --json a fault is a document too.";

const char attune_environment[] = " ATTUNE_DATABASE         the store that is read and written\n"
                                  " ATTUNE_SYSTEM_DATABASE  stores that are only read, separated by ':'\n"
                                  " ATTUNE_FROZEN           1: stored kernels only; nothing is compiled or stored\n"
                                  " ATTUNE_CACHE_LIMIT      bytes of compiled kernels that are kept (512 MiB)\n"
                                  " ATTUNE_LIBCUDA          path of libcuda.so.1\n"
                                  " ATTUNE_NVRTC            path of libnvrtc.so\n"
                                  " ATTUNE_HOST_CXX         the simulator's C++17 compiler\n"
                                  " NO_COLOR                not empty: no colors";

const char attune_workload_format[] =
    "--workload FILE reads a JSON object with a format and a list of problems, each with the keys of --problem and a "
    "name:\n"
    " {\n"
    "   \"format\": \"attune-workload-1\",\n"
    "   \"problems\": [\n"
    "     {\"name\": \"prefill\", \"dtype\": \"bf16\", \"head_dim\": 128, \"batch\": 4,\n"
    "      \"heads_q\": 32, \"heads_kv\": 8, \"seqlen_q\": 4096, \"mask\": \"causal\"}\n"
    "   ]\n"
    " }\n"
    "A key is a flag's name with '_' for '-'; what is left out has its default, but that seqlen_q is 1, seqlen_k is as "
    "seqlen_q, heads_kv as heads_q, head_dim_v as head_dim. A flag without a value is true or false; --backward is "
    "\"operation\": \"backward\". window is [left, right], bias [batch, heads, queries], params an object of numbers "
    "and lists; --density is block_density. attune "
    "tune "
    "--json prints each problem in this form.";

const char attune_config_format[] =
    "A config is the operation, a family and words, with dots between, such as\n"
    " forward.wgmma.bf16.d128.causal.m128.n128.w12.s2.lazy.b1\n"
    "The words have the order of these lists. One that is left out has its usual value. Backward, a block has n keys, "
    "and a step m queries; the config is that of the kernel for dK and dV, and the words that begin with dq_ are of "
    "the kernel for dQ. Other kernels, as delta.warp, dq.convert, dbias.mma and dsinks.block, follow "
    "from it.";

const char attune_many_lengths[] =
    "Many lengths do not need many problems: seqlen_q and seqlen_k of a problem are bounds, one plan serves every "
    "length up to them, and the lengths of each sequence come with each run (seqlens_q, seqlens_k). Tune the bounds "
    "that are common, say 1024, 8192 and 65536: dispatch answers other ones with the nearest.";

const char attune_shipping[] =
    "To other people: attune store export tuned.json, and attune store import tuned.json on a machine with the same "
    "kind of GPU. Rows are for a device; those of another one help as far as dispatch takes near devices.\n"
    "Into a container image: run what will run once, or attune tune, with ATTUNE_DATABASE=/opt/attune.db while the "
    "image is built on such a machine, so that the kernels are compiled and in the file; then set\n"
    " ATTUNE_SYSTEM_DATABASE=/opt/attune.db\n"
    "in the image. The file should belong to root. It is only read, by any user and on a read-only file system; new "
    "kernels go to each user's own store. ATTUNE_FROZEN=1 beside it makes sure that nothing is compiled: a kernel that "
    "is missing is an error.";
