"""C identifiers for the names of a program.

Every name that reaches C text goes through a `Names` table. A table is injective by construction: it keeps what it has
handed out, so two names of a program never meet, whatever characters they hold. A name that is already a free C
identifier keeps its spelling, so that the text reads like the program.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable

_KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
_Alignas _Alignof _Atomic _Bool _Complex _Generic _Imaginary _Noreturn _Static_assert _Thread_local
asm typeof fortran near far huge bool true false nullptr constexpr thread_local alignas alignof static_assert
and and_eq bitand bitor compl not not_eq or or_eq xor xor_eq catch class const_cast delete dynamic_cast explicit export
friend mutable namespace new noexcept operator private protected public reinterpret_cast static_cast template this throw
try typeid typename using virtual wchar_t char16_t char32_t decltype linux unix i386 main NULL NAN INFINITY EOF
complex imaginary I errno stdin stdout stderr assert offsetof environ half uint uchar ushort ulong lane threads failed
scratch own error buffers symbols bits warpSize threadIdx blockIdx blockDim gridDim"""

# Functions of the C library: a public name of ours must not collide with them, nor a local hide one that is called.
_LIBRARY = """abort abs acos acosh aligned_alloc alloca asctime asin asinh atan atan2 atanh atexit atof atoi atol atoll
at_quick_exit bcmp bcopy bsearch btowc bzero calloc cbrt ceil clearerr clock cosh cos copysign ctime daddl difftime div
drem dup erf erfc exit exp exp10 exp2 expm1 fabs fclose fdim feof ferror fflush ffs ffsl fgetc fgetpos fgets floor fma
fmax fmin fmod fopen fork fpclassify fprintf fputc fputs fread free freopen frexp fscanf fseek fsetpos ftell fwrite
gamma getc getchar getenv gets gmtime hypot ilogb index isalnum isalpha isblank iscntrl isdigit isfinite isgraph
isgreater isgreaterequal isinf isless islessequal islessgreater islower isnan isnormal isprint ispunct isspace
isunordered isupper isxdigit j0 j1 jn labs ldexp ldiv lgamma llabs lldiv llrint llround localeconv localtime log log10
log1p log2 logb longjmp lrint lround malloc mblen mbstowcs mbtowc memccpy memchr memcmp memcpy memmove mempcpy memset
mktime modf nan nearbyint nextafter nexttoward open perror pipe posix_memalign pow pow10 printf putc putchar puts
qsort quick_exit raise rand random read realloc remainder remove remquo rename rewind rindex rint round scalb scalbln
scalbn scanf setbuf setjmp setlocale setvbuf signal signbit significand sin sincos sinh sleep snprintf sprintf sqrt
srand sscanf stat stpcpy strcat strchr strcmp strcoll strcpy strcspn strdup strerror strftime strlen strncat strncmp
strncpy strndup strpbrk strrchr strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm
system tan tanh tgamma time tmpfile tmpnam toascii tolower toupper trunc ungetc unlink vfprintf vprintf vsnprintf
vsprintf wait write y0 y1 yn select signgam daylight timezone stime a64l l64a drand48 erand48 ecvt fcvt gcvt initstate
lrand48 mrand48 nrand48 jrand48 lcong48 seed48 srand48 srandom setstate mktemp mkstemp mkdtemp putenv setenv unsetenv
clearenv realpath rpmatch getsubopt getloadavg qecvt qfcvt strsep strsignal strtok_r strnlen strcasecmp strncasecmp
explicit_bzero memmem basename index ffsll finite infnan canonicalize dladdr isascii timer swab valloc reallocarray"""

_PATTERNS = re.compile(
    r"""(_.*            # reserved by C
    | weft_.*|WEFT_.*   # helpers and macros of the printer
    | omp_.*|OMP_.*|cuda.*|hip.*
    | .*_t              # types of the C library and POSIX
    | (bf|[fiubm])\d+(x\d+)?(_.*)?   # vector types and their helpers
    | c\d+ | v\d+       # coordinates of written-out loops
    | U?INT.* | (SIZE|PTRDIFF|WCHAR|WINT|SIG|RAND|EXIT|MB|FP|M|HUGE|MATH)_.*
    | (FLT|DBL|LDBL|CHAR|SCHAR|UCHAR|SHRT|USHRT|LONG)_.*
    | (U?LONG|U?LLONG|HUGE_VAL|LLONG|BUFSIZ|FILE).* | math_errhandling | W[A-Z]+ | P_[A-Z]+ | (BIG|LITTLE|PDP|BYTE)_.*
    | FD_.* | S?NANF?.* | NANL | MAXFLOAT
    | is(zero|canonical|subnormal|eqsig|signaling) | strn?dupa | NFDBITS
    | (X_TLOSS|DOMAIN|SING|OVERFLOW|UNDERFLOW|PLOSS|TLOSS) | (le|be|hto)\w*\d\d\w*
    )""",
    re.VERBOSE,
)


def _with_suffixes(names: Iterable[str]) -> frozenset[str]:
    """The names and their `f`, `l` variants (sin, sinf, sinl)."""
    return frozenset(n + s for n in names for s in ("", "f", "l"))


RESERVED = frozenset(_KEYWORDS.split()) | _with_suffixes(_LIBRARY.split())


def is_reserved(name: str) -> bool:
    """Whether a plain C identifier may not be used for a name of a program."""
    return name in RESERVED or _PATTERNS.fullmatch(name) is not None


def sanitise(name: str) -> str:
    """`name` with every character that C does not allow turned into `_`, starting with a letter."""
    out = re.sub(r"[^A-Za-z0-9_]", "_", name)
    out = re.sub(r"__+", "_", out).strip("_") or "x"
    return out if out[0].isalpha() else "x" + out


class Names:
    """Hands out C identifiers: the same key gets the same one, different keys different ones."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._given: dict[Hashable, str] = {}
        self._taken = set(taken)

    def get(self, key: Hashable, wanted: str) -> str:
        """The identifier of `key`, close to `wanted`."""
        if key not in self._given:
            self._given[key] = self._fresh(wanted)
        return self._given[key]

    def _fresh(self, wanted: str) -> str:
        base = wanted if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", wanted) else sanitise(wanted)
        name, n = base, 1
        if is_reserved(base):
            name = base + "_" if not is_reserved(base + "_") else "x_" + base
        stem = name
        while name in self._taken or is_reserved(name):
            n += 1
            name = f"{stem}{'' if stem.endswith('_') else '_'}{n}"
            if n == 2 and is_reserved(name):
                stem = "x_" + stem
        self._taken.add(name)
        return name
