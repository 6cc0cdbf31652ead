"""Attune's C API through ctypes: the structs of runtime/attune.h, a context, and a plan that frees itself."""
import ctypes as C
import os
from pathlib import Path

TOP = Path(os.path.dirname(__file__), "..", "..").resolve()  # of the checkout; of a copy elsewhere, some folder
FP16, BF16 = 0, 1
FORWARD, BACKWARD = 0, 1
MASK_NONE, MASK_CAUSAL, MASK_CAUSAL_BOTTOM_RIGHT = 0, 1, 2
PARAMS_MAX = 8
PARAM_TYPES = ["", "int", "float", "int[]", "float[]"]


class Strides(C.Structure):
    _fields_ = [("batch", C.c_int64), ("seqlen", C.c_int64), ("heads", C.c_int64)]


class Param(C.Structure):
    _fields_ = [("name", C.c_char_p), ("type", C.c_int), ("reserved", C.c_int32)]


class Problem(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("dtype", C.c_int), ("head_dim", C.c_int32), ("head_dim_v", C.c_int32),
                ("batch", C.c_int32), ("heads_q", C.c_int32), ("heads_kv", C.c_int32), ("seqlen_q", C.c_int32),
                ("seqlen_k", C.c_int32), ("mask", C.c_int), ("window_left", C.c_int32), ("window_right", C.c_int32),
                ("scale", C.c_float), ("softcap", C.c_float), ("want_lse", C.c_int32),
                ("q", Strides), ("k", Strides), ("v", Strides), ("o", Strides), ("mask_expr", C.c_char_p),
                ("score_expr", C.c_char_p), ("params", C.POINTER(Param)), ("param_count", C.c_int32),
                ("want_bias", C.c_int32), ("bias", Strides), ("want_sinks", C.c_int32), ("block_size", C.c_int32),
                ("block_density", C.c_float), ("expression_hash", C.c_int32), ("operation", C.c_int),
                ("deterministic", C.c_int32), ("d_o", Strides), ("dq", Strides), ("dk", Strides), ("dv", Strides),
                ("want_dbias", C.c_int32), ("want_dsinks", C.c_int32), ("want_dparams", C.c_int32), ("accumulate", C.c_int32)]


class Options(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("device", C.c_char_p), ("database", C.c_char_p), ("frozen", C.c_int32),
                ("host_seed", C.c_uint64)]


class Value(C.Structure):
    _fields_ = [("array", C.c_void_p), ("count", C.c_int64), ("integer", C.c_int32), ("real", C.c_float),
                ("reserved", C.c_int64)]


class BlockMask(C.Structure):
    _fields_ = [("batch", C.c_int32), ("heads", C.c_int32), ("row_offsets", C.c_void_p), ("indices", C.c_void_p),
                ("capacity", C.c_int64), ("row_order", C.c_void_p), ("column_offsets", C.c_void_p),
                ("row_indices", C.c_void_p), ("reserved", C.c_int64 * 2)]


class Tensors(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("q", C.c_void_p), ("k", C.c_void_p), ("v", C.c_void_p), ("o", C.c_void_p),
                ("lse", C.c_void_p), ("seqlens_q", C.c_void_p), ("seqlens_k", C.c_void_p), ("values", Value * PARAMS_MAX),
                ("bias", C.c_void_p), ("sinks", C.c_void_p), ("block_mask", BlockMask), ("d_o", C.c_void_p),
                ("dlse", C.c_void_p), ("dq", C.c_void_p), ("dk", C.c_void_p), ("dv", C.c_void_p),
                ("dbias", C.c_void_p), ("dsinks", C.c_void_p), ("dparams", C.c_void_p * PARAMS_MAX)]


class BlockMaskSource(C.Structure):
    _fields_ = [("kind", C.c_int32), ("data", C.c_void_p), ("count", C.c_int64), ("values", Value * PARAMS_MAX),
                ("reserved", C.c_int64 * 4)]


OF_EXPRESSION, OF_MASK, OF_BLOCKS = range(3)  # attune_block_mask_source_kind


def load(path=None):
    """The shared library, with its functions' types declared. Without a path: that of the checkout, or else the installed one."""
    built = TOP / "build" / "libattune.so"
    lib = C.CDLL(os.fspath(path or (built if built.exists() else "libattune.so.0")))
    handle = C.POINTER(C.c_void_p)
    for name, result, arguments in [
            ("message", C.c_char_p, []), ("version", C.c_char_p, []), ("status_name", C.c_char_p, [C.c_int]),
            ("problem_init_sized", None, [C.c_void_p, C.c_size_t]),
            ("options_init_sized", None, [C.c_void_p, C.c_size_t]),
            ("tensors_init_sized", None, [C.c_void_p, C.c_size_t]),
            ("context_create", C.c_int, [handle, C.POINTER(Options)]), ("context_destroy", None, [C.c_void_p]),
            ("context_device", C.c_char_p, [C.c_void_p]), ("context_warning", C.c_char_p, [C.c_void_p]),
            ("plan_create", C.c_int, [handle, C.c_void_p, C.POINTER(Problem)]),
            ("plan_create_with", C.c_int, [handle, C.c_void_p, C.POINTER(Problem), C.c_char_p]),
            ("plan_destroy", None, [C.c_void_p]), ("plan_workspace", C.c_size_t, [C.c_void_p]),
            ("plan_config", C.c_char_p, [C.c_void_p]), ("plan_source", C.c_char_p, [C.c_void_p]),
            ("plan_explain", C.c_char_p, [C.c_void_p]),
            ("run", C.c_int, [C.c_void_p, C.POINTER(Tensors), C.c_void_p, C.c_size_t, C.c_void_p]),
            ("block_mask_builder_create", C.c_int, [handle, C.c_void_p, C.POINTER(Problem)]),
            ("block_mask_builder_destroy", None, [C.c_void_p]),
            ("block_mask_builder_workspace", C.c_size_t, [C.c_void_p, C.c_int32, C.c_int32]),
            ("block_mask_builder_build", C.c_int, [C.c_void_p, C.POINTER(BlockMaskSource), C.POINTER(BlockMask), C.c_void_p,
                                       C.c_size_t, C.c_void_p]),
            ("block_mask_builder_check", C.c_int, [C.c_void_p, C.POINTER(BlockMask)])]:
        function = getattr(lib, "attune_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


def initialised(init, struct):
    """A struct with the library's defaults; the library reads it by the size that it has here."""
    value = struct()
    init(C.byref(value), C.sizeof(struct))
    return value


class Context:
    """device and database as in attune_options; None means the default there."""

    def __init__(self, lib, device=None, database=None):
        self.lib, self.handle = lib, C.c_void_p()
        options = initialised(lib.attune_options_init_sized, Options)
        options.device = device.encode() if device else None
        options.database = os.fspath(database).encode() if database else None
        self.check(lib.attune_context_create(C.byref(self.handle), C.byref(options)))

    def check(self, status):
        if status:
            raise RuntimeError(f"{self.lib.attune_status_name(status).decode()}: {self.lib.attune_message().decode()}")

    def problem(self, params=None, **fields):
        """params: {name: "int", "float", "int[]" or "float[]"}; expressions are str, strides (batch, seqlen, heads)."""
        problem = initialised(self.lib.attune_problem_init_sized, Problem)
        for name, value in fields.items():
            setattr(problem, name, value.encode() if isinstance(value, str) else value)
        declared = [Param(name.encode(), PARAM_TYPES.index(word)) for name, word in (params or {}).items()]
        problem.params, problem.param_count = (Param * len(declared))(*declared), len(declared)
        return problem

    def builder(self, problem):
        return BlockMaskBuilder(self, problem)

    def plan(self, problem, config=None):
        return Plan(self, problem, config)

    @property
    def device(self):
        return self.lib.attune_context_device(self.handle).decode()

    def close(self):
        self.lib.attune_context_destroy(self.handle)


def as_value(word, value):
    """Of a param of that type: a number, or an array's address and count."""
    if word.endswith("[]"):
        return Value(array=value[0], count=value[1])
    return Value(integer=value) if word == "int" else Value(real=value)


def param_types(problem):
    """{name: its word}, in the problem's order."""
    return {p.name.decode(): PARAM_TYPES[p.type] for p in problem.params[:problem.param_count]}


class BlockMaskBuilder:
    """Builds and checks block masks."""

    def __init__(self, context, problem):
        self.context, self.lib, self.handle = context, context.lib, C.c_void_p()
        self.params = param_types(problem)
        context.check(self.lib.attune_block_mask_builder_create(C.byref(self.handle), context.handle, C.byref(problem)))

    def workspace(self, batch, heads):
        return self.lib.attune_block_mask_builder_workspace(self.handle, batch, heads)

    def bind(self, block_mask, workspace, kind, data=None, count=0, values=None, stream=None):
        """A call without arguments that enqueues one build over these addresses."""
        source = BlockMaskSource(kind, data, count)
        for i, (name, word) in enumerate(self.params.items()):
            source.values[i] = as_value(word, values[name])
        size = self.workspace(block_mask.batch, block_mask.heads)

        def call():
            self.context.check(self.lib.attune_block_mask_builder_build(self.handle, C.byref(source), C.byref(block_mask), workspace, size,
                                                            stream))

        return call

    def check(self, block_mask):
        self.context.check(self.lib.attune_block_mask_builder_check(self.handle, C.byref(block_mask)))

    def close(self):
        if self.handle:
            self.lib.attune_block_mask_builder_destroy(self.handle)
            self.handle = C.c_void_p()

    __del__ = close


class Plan:
    def __init__(self, context, problem, config):
        self.context, self.lib, self.handle = context, context.lib, C.c_void_p()
        self.params = param_types(problem)
        if config:
            context.check(self.lib.attune_plan_create_with(C.byref(self.handle), context.handle, C.byref(problem),
                                                           config.encode()))
        else:
            context.check(self.lib.attune_plan_create(C.byref(self.handle), context.handle, C.byref(problem)))
        self.config = self.lib.attune_plan_config(self.handle).decode()
        self.source = self.lib.attune_plan_source(self.handle).decode()
        self.explanation = self.lib.attune_plan_explain(self.handle).decode()
        self.workspace = self.lib.attune_plan_workspace(self.handle)

    def bind(self, q, k, v, o, lse=None, workspace=None, stream=None, values=None, bias=None, sinks=None,
             block_mask=None, gradients=None, **others):
        """A call without arguments that enqueues one run over these addresses. values: {param's name: a number, or an
        array's (address, count)}. gradients: of a backward problem, (d_o, dq, dk, dv). others: any other tensor of
        attune_tensors by its name (seqlens_q, dlse, dbias, dsinks)."""
        tensors = initialised(self.lib.attune_tensors_init_sized, Tensors)
        tensors.q, tensors.k, tensors.v, tensors.o, tensors.lse = q, k, v, o, lse
        tensors.bias, tensors.sinks = bias, sinks
        tensors.d_o, tensors.dq, tensors.dk, tensors.dv = gradients or (None,) * 4
        if block_mask is not None:
            tensors.block_mask = block_mask
        for name, address in others.items():
            if name not in dict(Tensors._fields_):
                raise TypeError(f"attune_tensors has no {name}")
            setattr(tensors, name, address)
        for i, (name, word) in enumerate(self.params.items()):
            tensors.values[i] = as_value(word, values[name])
        run, check, handle, at = self.lib.attune_run, self.context.check, self.handle, C.byref(tensors)
        size = self.workspace if workspace else 0

        def call():
            status = run(handle, at, workspace, size, stream)
            if status:
                check(status)

        call.tensors, call.plan = tensors, self  # live as long as the call
        return call

    def close(self):
        if self.handle:
            self.lib.attune_plan_destroy(self.handle)
            self.handle = C.c_void_p()

    __del__ = close
