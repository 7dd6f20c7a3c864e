"""The ops are citizens of torch: autograd of every order, torch.func, compile, export, autocast."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad  # noqa: E402

from vaelocity import ops  # noqa: E402

NAMES = sorted(ops.OPS)
GRADIENTS = [name for name in NAMES if ops.OPS[name].OP.gradients is not None]
# Of torch itself: forward mode scripts its decompositions, dynamo makes an instance of a Function.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]
LINEAR = ("corrupt", "diffuse", "sparsity")
KINDS = ("squared_error", "absolute_error", "huber", "bce_with_logits", "gaussian_nll")


def case(name: str, wanted: str = "") -> Any:
    """A case of an op, the one so called or one of its middle-sized ones."""
    cases = {each.name: each for each in ops.OPS[name].CASES}
    return cases[wanted] if wanted else next(c for n, c in cases.items() if n.startswith("33x17"))


def arguments(name: str, wanted: str = "", dtype: Any = None) -> dict[str, Any]:
    """Its arguments; leaves where they are differentiable, float64 where asked for."""
    found: dict[str, Any] = case(name, wanted).arguments()
    declared = ops.OPS[name].OP
    for key, value in found.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            found[key] = value.to(dtype) if dtype else value
            if key in differentiable(declared):
                found[key] = found[key].detach().requires_grad_()
    return found


def differentiable(declared: Any) -> list[str]:
    if declared.gradients is None:
        return []
    return [declared.forward.arguments[i] for i in declared.gradients.positions]


def scalar(results: Any) -> torch.Tensor:
    """One number that depends on every element of every floating result, each in another way."""
    results = results if isinstance(results, tuple) else (results,)
    total = torch.zeros((), dtype=torch.float64)
    for i, each in enumerate(each for each in results if each.is_floating_point()):
        weight = torch.cos(torch.arange(each.numel(), dtype=torch.float64) + i)
        total = total + (weight.reshape(each.shape) * each).sum()
    return total


def of_leaves(name: str, found: dict[str, Any]) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The op as a function of its differentiable arguments only."""
    keys = [key for key in found if key in differentiable(ops.OPS[name].OP)]

    def function(*leaves: torch.Tensor) -> Any:
        results = getattr(ops, name)(**{**found, **dict(zip(keys, leaves, strict=True))})
        results = results if isinstance(results, tuple) else (results,)
        floats = tuple(each for each in results if each.is_floating_point())
        return floats if len(floats) > 1 else floats[0]

    return function, [found[key] for key in keys]


# ---- Autograd


@pytest.mark.parametrize("name", GRADIENTS)
def test_first_and_second_derivatives_are_right_in_float64(name: str) -> None:
    function, leaves = of_leaves(name, arguments(name, "7x3", torch.float64))
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_right_derivatives(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 8 if kind == "gaussian_nll" else 4, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(4, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(3, 4) < 0.7

    def loss(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return ops.reconstruction_loss(x, y, kind, delta=0.7, mask=mask, weight=weight)

    assert torch.autograd.gradcheck(loss, (x, y, weight))
    assert torch.autograd.gradgradcheck(loss, (x, y, weight))


@pytest.mark.parametrize("name", GRADIENTS)
def test_second_derivatives_of_the_kernel_are_the_reference_s(name: str) -> None:
    found = []
    for backend in (None, "reference"):
        function, leaves = of_leaves(name, {**arguments(name), "backend": backend})
        first = torch.autograd.grad(scalar(function(*leaves)), leaves, create_graph=True)
        curved = [torch.sin(each.double()).sum() for each in first if each.requires_grad]
        if name in LINEAR:
            assert not curved
            return
        found.append(torch.autograd.grad(sum(curved), leaves, allow_unused=True))
    for ours, right in zip(*found, strict=True):
        assert (ours is None) == (right is None)
        if right is not None:
            torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GRADIENTS)
def test_backward_keeps_arguments_and_nothing_else(name: str) -> None:
    found = arguments(name, "64x64")
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        getattr(ops, name)(**found, backend="cpu")
    given = {id_of(v): k for k, v in found.items() if isinstance(v, torch.Tensor)}
    names = [given.get(id_of(each)) for each in kept]
    declared = ops.OPS[name].OP
    taken = declared.gradients._backward.arguments
    assert sorted(map(str, names)) == sorted(key for key in given.values() if key in taken)


def id_of(tensor: torch.Tensor) -> tuple[int, Any]:
    return tensor.data_ptr(), tensor.dtype


def test_bytes_kept_for_the_backward_of_a_vae_s_loss() -> None:
    b, d, z = 64, 59, 16
    x, y = torch.randn(b, d), torch.randn(b, d, requires_grad=True)
    mu = torch.randn(b, z, requires_grad=True)
    logvar = torch.randn(b, z, requires_grad=True)
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[id_of(tensor)] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        ops.reparameterize(mu, logvar, ops.Rng(0))
        ops.elbo(x, y, mu, logvar)
    arguments_only = 4 * (2 * b * d + 2 * b * z)
    assert sum(kept.values()) == arguments_only + 16  # and the name of the draw


def test_rare_gradients_are_right() -> None:
    """Of x and weight, and of alpha_bar: only the reference has them, and it is taken."""
    x = torch.rand(5, 4, requires_grad=True)
    y = torch.randn(5, 4, requires_grad=True)
    weight = torch.rand(4, requires_grad=True)
    ops.reconstruction_loss(x, y, weight=weight).sum().backward()
    torch.testing.assert_close(x.grad, weight * (x - y))
    torch.testing.assert_close(weight.grad, 0.5 * (y - x).square().sum(0))
    alpha_bar = torch.tensor([0.3, 0.6], requires_grad=True)
    draw, t = ops.Rng(0).draw(20), torch.tensor([0, 1, 1, 0, 1])
    ops.diffuse(x.detach(), t, alpha_bar, draw).sum().backward()
    eps = ops.philox_normal((5, 4), draw)
    a = alpha_bar.detach()[t][:, None]
    slope = (0.5 * x / a.sqrt() - 0.5 * eps / (1 - a).sqrt()).sum(1).detach()
    torch.testing.assert_close(
        alpha_bar.grad, torch.stack([slope[t == 0].sum(), slope[t == 1].sum()])
    )
    with pytest.raises(RuntimeError, match="only the reference has the gradient of x"):
        ops.reconstruction_loss(x, y, backend="cpu")


def test_one_tensor_for_two_arguments() -> None:
    mu = torch.randn(4, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(ops.gaussian_kl(mu, mu).sum(), mu, create_graph=True)
    torch.testing.assert_close(grad, mu + 0.5 * torch.expm1(mu))
    (second,) = torch.autograd.grad(grad.sum(), mu)
    torch.testing.assert_close(second, 1 + 0.5 * torch.exp(mu))


def test_only_one_of_the_results_is_used() -> None:
    mu, logvar = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    z, kl = ops.reparameterize_kl(mu, logvar, ops.Rng(0))
    (grad,) = torch.autograd.grad(kl.sum(), logvar, retain_graph=True)
    torch.testing.assert_close(grad, 0.5 * torch.expm1(logvar))
    (grad,) = torch.autograd.grad(z.sum(), mu)
    torch.testing.assert_close(grad, torch.ones_like(mu))


def test_results_without_gradients_are_marked() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    corrupted, kept = ops.corrupt(x, ops.Rng(0), noise=0.1, drop=0.5)
    assert corrupted.requires_grad
    assert not kept.requires_grad
    with torch.no_grad():
        assert not ops.sparsity(x).requires_grad


@pytest.mark.parametrize("name", GRADIENTS)
def test_deterministic_algorithms(name: str) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        function, leaves = of_leaves(name, arguments(name))
        runs = [torch.autograd.grad(scalar(function(*leaves)), leaves) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


# ---- torch.library


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*opcheck.*")
def test_opcheck(name: str) -> None:
    declared = ops.OPS[name].OP
    found = case(name, "17x16" if name != "philox_normal" else "33x17-float32").arguments()
    prepared: list[Any] = []
    original = declared.forward.run
    declared.forward.run = lambda backend, args: prepared.append(args) or original(backend, args)
    try:
        getattr(ops, name)(**found)
    finally:
        del declared.forward.run
    torch.library.opcheck(declared.forward.overload, prepared[0])
    wanted = [
        a.detach().clone().requires_grad_()
        if i in (declared.gradients.positions if declared.gradients else [])
        else a
        for i, a in enumerate(prepared[0])
    ]
    torch.library.opcheck(declared.forward.overload, tuple(wanted))


def test_torch_sees_the_operator_where_it_looks() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    mu = torch.randn(4, 3)
    graph = make_fx(lambda m: ops.gaussian_kl(m, m))(mu)
    assert "vaelocity.gaussian_kl.default" in graph.code
    with torch.profiler.profile() as profile:
        ops.gaussian_kl(mu, mu)
    assert "vaelocity::gaussian_kl" in {event.name for event in profile.events()}


# ---- torch.func and forward mode


@pytest.mark.parametrize("name", GRADIENTS)
def test_func_grad_vmap_and_jvp(name: str) -> None:
    found = arguments(name, "7x3")
    function, leaves = of_leaves(name, found)
    leaves = [leaf.detach() for leaf in leaves]
    expected = torch.autograd.grad(
        scalar(function(*[leaf.requires_grad_() for leaf in leaves])), leaves
    )
    every = tuple(range(len(leaves)))
    leaves = [leaf.detach() for leaf in leaves]
    gradients = torch.func.grad(lambda *a: scalar(function(*a)), argnums=every)(*leaves)
    for ours, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-5)
    stacked = [torch.stack([leaf, 2 * leaf]) for leaf in leaves]
    mapped = torch.func.vmap(function)(*stacked)
    looped = [function(*[each[i] for each in stacked]) for i in range(2)]
    for ours, first, second in zip(*map(as_tuple, (mapped, *looped)), strict=True):
        torch.testing.assert_close(ours, torch.stack([first, second]), rtol=1e-5, atol=1e-5)
    tangents = [torch.randn_like(leaf) for leaf in leaves]
    _, slope = torch.func.jvp(lambda *a: scalar(function(*a)), tuple(leaves), tuple(tangents))
    right = sum((g * t).sum() for g, t in zip(expected, tangents, strict=True))
    torch.testing.assert_close(slope.float(), right, rtol=1e-4, atol=1e-4)


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def test_forward_mode() -> None:
    mu, logvar, tangent = torch.randn(3, 4, 5)
    with forward_ad.dual_level():
        dual = ops.gaussian_kl(forward_ad.make_dual(mu, tangent), logvar)
        found = forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(found, (mu * tangent).sum(1))


# ---- Compile and export


def vae_loss(
    x: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor, weight: torch.Tensor, draw: Any
) -> torch.Tensor:
    z, kl = ops.reparameterize_kl(mu, logvar, draw)
    y = z @ weight
    found = ops.elbo(x, y, mu, logvar, 0.5)
    sparse = ops.sparsity(z) + ops.reconstruction_loss(x, y, "huber") + kl
    total: torch.Tensor = (found.total + 0.1 * sparse).mean()
    return total


def vae_arguments(b: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(b)
    shapes = ((b, 9), (b, 3), (b, 3), (3, 9))
    found = [torch.randn(shape, generator=generator) for shape in shapes]
    return [found[0], *[each.requires_grad_() for each in found[1:]]]


def test_compile_fullgraph_dynamic() -> None:
    torch.compiler.reset()
    compiled = torch.compile(vae_loss, fullgraph=True, dynamic=True)
    draw = ops.Rng(3).draw(4)
    for b in (5, 8, 13):
        with torch.compiler.set_stance("fail_on_recompile" if b > 5 else "default"):
            loss = compiled(*(args := vae_arguments(b)), draw)
        loss.backward()
        found = [each.grad for each in args[1:]]
        right = vae_loss(*(eager := vae_arguments(b)), draw)
        right.backward()
        torch.testing.assert_close(loss, right)
        for ours, each in zip(found, eager[1:], strict=True):
            torch.testing.assert_close(ours, each.grad)


def test_a_compiled_function_draws_new_noise_every_time() -> None:
    rng, eager = ops.Rng(3), ops.Rng(3)
    function = torch.compile(
        lambda m: ops.reparameterize(m, m, rng), fullgraph=True, backend="aot_eager"
    )
    mu = torch.zeros(5, 3)
    for _ in range(3):
        assert torch.equal(function(mu), ops.reparameterize(mu, mu, eager))
    assert torch.equal(rng.state, eager.state)


@pytest.mark.parametrize("name", NAMES)
def test_every_op_compiles(name: str) -> None:
    """Traced whole and run by torch's own eager backend: inductor takes seconds an op."""
    torch.compiler.reset()
    found = arguments(name, "33x17-float32" if name == "philox_normal" else "")
    function = torch.compile(getattr(ops, name), fullgraph=True, dynamic=True, backend="aot_eager")
    compiled, eager = function(**found), getattr(ops, name)(**found)
    for ours, right in zip(as_tuple(compiled), as_tuple(eager), strict=True):
        assert torch.equal(ours, right)
    leaves = [
        each for each in found.values() if isinstance(each, torch.Tensor) and each.requires_grad
    ]
    if leaves:
        ours = torch.autograd.grad(scalar(compiled), leaves)
        right = torch.autograd.grad(scalar(eager), leaves)
        for first, second in zip(ours, right, strict=True):
            assert torch.equal(first, second)


def test_the_reference_compiles() -> None:
    torch.compiler.reset()
    function = torch.compile(
        lambda m: ops.gaussian_kl(m, m, backend="reference"), fullgraph=True, backend="aot_eager"
    )
    mu = torch.randn(4, 3)
    torch.testing.assert_close(function(mu), ops.gaussian_kl(mu, mu))


class Loss(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor, draw: torch.Tensor) -> Any:
        z = ops.reparameterize(x, y, draw)
        return ops.elbo(x, z, x, y)


def test_export_round_trip(tmp_path: Any) -> None:
    x, y, draw = torch.randn(6, 4), torch.randn(6, 4), ops.Rng(1).draw(24)
    batch = torch.export.Dim("batch", min=2)
    shapes = ({0: batch}, {0: batch}, None)
    program = torch.export.export(Loss(), (x, y, draw), dynamic_shapes=shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export's own
        torch.export.save(program, tmp_path / "loss.pt2")
        loaded = torch.export.load(tmp_path / "loss.pt2").module()
    more, other = torch.randn(9, 4), torch.randn(9, 4)
    for ours, right in zip(loaded(more, other, draw), Loss()(more, other, draw), strict=True):
        assert torch.equal(ours, right)


# ---- Autocast, layouts, rows


def test_autocast_mixes_dtypes() -> None:
    x = torch.randn(6, 8)
    encoder, decoder = torch.nn.Linear(8, 4), torch.nn.Linear(2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        mu, logvar = encoder(x).chunk(2, 1)
        z = ops.reparameterize(mu, logvar, ops.Rng(0))
        y = decoder(z)
        found = ops.elbo(x, y, mu, logvar)
    assert (mu.dtype, z.dtype, y.dtype) == (torch.bfloat16,) * 3
    assert {each.dtype for each in found} == {torch.float32}
    exact = ops.elbo(x.double(), y.double(), mu.double(), logvar.double()).total.float()
    torch.testing.assert_close(found.total, exact, rtol=1e-5, atol=1e-5)
    found.total.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_samples_of_any_shape() -> None:
    torch.manual_seed(0)
    mu, logvar = torch.randn(4, 2, 3, 5), torch.randn(4, 2, 3, 5)
    draw = ops.Rng(0).draw(120)
    z, kl = ops.reparameterize_kl(mu, logvar, draw)
    assert z.shape == mu.shape
    flat = ops.reparameterize_kl(mu.flatten(1), logvar.flatten(1), draw)
    assert torch.equal(z.flatten(1), flat[0])
    assert torch.equal(kl, flat[1])
    mask, weight = torch.rand(2, 3, 5) < 0.5, torch.rand(2, 3, 5)
    assert torch.equal(
        ops.reconstruction_loss(mu, logvar, mask=mask, weight=weight),
        ops.reconstruction_loss(
            mu.flatten(1), logvar.flatten(1), mask=mask.flatten(), weight=weight.flatten()
        ),
    )


@pytest.mark.gpu
def test_cuda_graph_capture() -> None:
    """No synchronisation, and every replay draws new noise."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rng = ops.Rng(1, device="cuda")
    mu = torch.randn(64, 16, device="cuda", requires_grad=True)
    logvar = torch.randn(64, 16, device="cuda", requires_grad=True)

    def step() -> tuple[torch.Tensor, ...]:
        z = ops.reparameterize(mu, logvar, rng)
        total = ops.elbo(z.detach(), z, mu, logvar).total.mean()
        return (z, *torch.autograd.grad(total, (mu, logvar)))

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    kept = rng.state
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    rng.state = kept
    for _ in range(2):
        before = rng.state
        graph.replay()
        after = rng.state
        rng.state = before
        for ours, right in zip(captured, step(), strict=True):
            assert torch.equal(ours, right)
        assert torch.equal(rng.state, after)
