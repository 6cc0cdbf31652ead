/* What expressions are computed with. index is `integer`, one value, or `range`, everything that a tile's rows or
 * columns may be; real is `float`, or `unknown` beside ranges. A comparison of integers is a bool, of ranges a verdict:
 * so the same text says whether a key is seen, and whether any key of a tile is, or all are. Ints wrap, shifts take the
 * lower five bits of their count, and division by zero gives 0: every expression has a value, and an element outside of
 * an array is 0. */
#pragma once
#include "../primitives/cuda.h"
#include "arguments.h"

/* ---- one value ---- */

/* The sum of two parts: what is known when the code is compiled, such as a column's place in its tile, stays apart
 * through sums, so that what is left is the same for many columns and is computed once. */
struct integer {
  int base, offset;
  ATTUNE_MEMBER integer(int v) : base(v), offset(0) {}
  ATTUNE_MEMBER integer(int b, int o) : base(b), offset(o) {}
  ATTUNE_MEMBER int value() const {
    return (int)((unsigned)base + (unsigned)offset);
  }
  ATTUNE_MEMBER explicit operator float() const {
    return (float)value();
  }
};

ATTUNE_DEVICE integer operator+(integer a, integer b) {
  return integer((int)((unsigned)a.base + (unsigned)b.base), (int)((unsigned)a.offset + (unsigned)b.offset));
}
ATTUNE_DEVICE integer operator-(integer a, integer b) {
  return integer((int)((unsigned)a.base - (unsigned)b.base), (int)((unsigned)a.offset - (unsigned)b.offset));
}
ATTUNE_DEVICE integer operator*(integer a, integer b) {
  return (int)((unsigned)a.value() * (unsigned)b.value());
}
ATTUNE_DEVICE integer operator-(integer a) {
  return integer(0) - a;
}
ATTUNE_DEVICE integer operator/(integer a, integer b) {
  return b.value() == 0 ? 0 : b.value() == -1 ? (int)(0u - (unsigned)a.value()) : a.value() / b.value();
}
ATTUNE_DEVICE integer operator%(integer a, integer b) {
  return b.value() == 0 || b.value() == -1 ? 0 : a.value() % b.value();
}
ATTUNE_DEVICE integer operator&(integer a, integer b) {
  return a.value() & b.value();
}
ATTUNE_DEVICE integer operator|(integer a, integer b) {
  return a.value() | b.value();
}
ATTUNE_DEVICE integer operator^(integer a, integer b) {
  return a.value() ^ b.value();
}
ATTUNE_DEVICE integer operator~(integer a) {
  return ~a.value();
}
ATTUNE_DEVICE integer operator<<(integer a, integer b) {
  return (int)((unsigned)a.value() << (b.value() & 31));
}
ATTUNE_DEVICE integer operator>>(integer a, integer b) {
  return a.value() >> (b.value() & 31);
}
ATTUNE_DEVICE bool operator<(integer a, integer b) {
  return a.value() < b.value();
}
ATTUNE_DEVICE bool operator>(integer a, integer b) {
  return a.value() > b.value();
}
ATTUNE_DEVICE bool operator<=(integer a, integer b) {
  return a.value() <= b.value();
}
ATTUNE_DEVICE bool operator>=(integer a, integer b) {
  return a.value() >= b.value();
}
ATTUNE_DEVICE bool operator==(integer a, integer b) {
  return a.value() == b.value();
}
ATTUNE_DEVICE bool operator!=(integer a, integer b) {
  return a.value() != b.value();
}

template <class any> ATTUNE_DEVICE any select(bool condition, any yes, any no) {
  return condition ? yes : no;
}
ATTUNE_DEVICE integer magnitude(integer a) {
  return a.value() < 0 ? (int)(0u - (unsigned)a.value()) : a.value();
}
ATTUNE_DEVICE integer smaller(integer a, integer b) {
  return a.value() < b.value() ? a : b;
}
ATTUNE_DEVICE integer larger(integer a, integer b) {
  return a.value() > b.value() ? a : b;
}
ATTUNE_DEVICE integer random_bits(integer a, integer b, integer c) {
  unsigned x =
      (unsigned)a.value() * 0x9e3779b1u + (unsigned)b.value() * 0x85ebca6bu + (unsigned)c.value() * 0xc2b2ae35u;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return (int)(x & 0x7fffffffu);
}

ATTUNE_DEVICE float magnitude(float x) {
  return absolute(x);
}
ATTUNE_DEVICE float smaller(float a, float b) {
  return a < b || b != b ? a : b;
}
ATTUNE_DEVICE float larger(float a, float b) {
  return a > b || b != b ? a : b;
}
/* An int of at most 23 bits, of parts that have no more, as a float: where it lies in the mantissa of 3 * 2^22. Two
 * plain instructions, where the conversion is one for the units that also do the exponentials. */
template <class real> ATTUNE_DEVICE real small(integer a) {
  return float_of_bits(0x4b400000u + (unsigned)a.base) - 12582912.0f + (float)a.offset;
}
ATTUNE_DEVICE float quotient(float a, float b) {
  return a * reciprocal(b);
}
ATTUNE_DEVICE float exponential(float x) {
  return exp2_approximate(1.4426950408889634f * x);
}
ATTUNE_DEVICE float logarithm(float x) {
  return 0.6931471805599453f * log2_approximate(x);
}
ATTUNE_DEVICE float root(float x) {
  return square_root(x);
}
ATTUNE_DEVICE float hyperbolic_tangent(float x) {
  return 1.0f - 2.0f * reciprocal(1.0f + exp2_approximate(2.8853900817779268f * x));
}
ATTUNE_DEVICE float rounded_down(float x) {
  return floor_of(x);
}
ATTUNE_DEVICE integer truncated(float x) {
  return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x < -2147483648.0f ? -2147483647 - 1 : (int)x;
}

/* ---- all values of a range, its ends included ---- */

struct range {
  int low, high;
  ATTUNE_MEMBER range(int v) : low(v), high(v) {}
  ATTUNE_MEMBER range(int l, int h) : low(l), high(h) {}
};

/* maybe: it holds somewhere, for all that is known; always: it holds everywhere, certainly. */
struct verdict {
  bool maybe, always;
};

/* A float, of which nothing is known. */
struct unknown {
  ATTUNE_MEMBER explicit unknown(float) {}
  ATTUNE_MEMBER explicit unknown(range) {}
};

ATTUNE_DEVICE range anything() {
  return range(-2147483647 - 1, 2147483647);
}
/* What wraps may be anywhere. */
ATTUNE_DEVICE range from_to(long long low, long long high) {
  const bool fits = low >= -2147483648ll && high <= 2147483647ll;
  return fits ? range((int)low, (int)high) : anything();
}
ATTUNE_DEVICE range joined(range all, int one) {
  return range(minimum(all.low, one), maximum(all.high, one));
}
ATTUNE_DEVICE bool is_one(range a) {
  return a.low == a.high;
}
/* 2^n - 1, the least that is not less. */
ATTUNE_DEVICE int all_ones(int x) {
  for (int shift = 1; shift < 32; shift *= 2)
    x |= x >> shift;
  return x;
}
ATTUNE_DEVICE long long least(long long a, long long b) {
  return a < b ? a : b;
}
ATTUNE_DEVICE long long most(long long a, long long b) {
  return a > b ? a : b;
}

ATTUNE_DEVICE range operator+(range a, range b) {
  return from_to((long long)a.low + b.low, (long long)a.high + b.high);
}
ATTUNE_DEVICE range operator-(range a, range b) {
  return from_to((long long)a.low - b.high, (long long)a.high - b.low);
}
ATTUNE_DEVICE range operator-(range a) {
  return from_to(-(long long)a.high, -(long long)a.low);
}
ATTUNE_DEVICE range operator*(range a, range b) {
  const long long w = (long long)a.low * b.low, x = (long long)a.low * b.high, y = (long long)a.high * b.low,
                  z = (long long)a.high * b.high;
  return from_to(least(least(w, x), least(y, z)), most(most(w, x), most(y, z)));
}
ATTUNE_DEVICE range operator/(range a, range b) {
  if (is_one(b) && b.low > 0) return range(a.low / b.low, a.high / b.low); // rounding towards zero keeps the order
  if (is_one(a) && is_one(b)) return (integer(a.low) / integer(b.low)).value();
  return anything();
}
ATTUNE_DEVICE range operator%(range a, range b) {
  if (is_one(a) && is_one(b)) return (integer(a.low) % integer(b.low)).value();
  if (!is_one(b) || b.low <= 0) return anything();
  if (a.low < 0) return range(1 - b.low, b.low - 1);
  if (a.low / b.low == a.high / b.low) return range(a.low % b.low, a.high % b.low);
  return range(0, b.low - 1);
}
ATTUNE_DEVICE range operator&(range a, range b) {
  if (is_one(a) && is_one(b)) return a.low & b.low;
  if (a.low >= 0 && b.low >= 0) return range(0, minimum(a.high, b.high));
  return a.low >= 0 ? range(0, a.high) : b.low >= 0 ? range(0, b.high) : anything();
}
ATTUNE_DEVICE range operator|(range a, range b) {
  if (is_one(a) && is_one(b)) return a.low | b.low;
  return a.low >= 0 && b.low >= 0 ? range(maximum(a.low, b.low), all_ones(maximum(a.high, b.high))) : anything();
}
ATTUNE_DEVICE range operator^(range a, range b) {
  if (is_one(a) && is_one(b)) return a.low ^ b.low;
  return a.low >= 0 && b.low >= 0 ? range(0, all_ones(maximum(a.high, b.high))) : anything();
}
ATTUNE_DEVICE range operator~(range a) {
  return range(~a.high, ~a.low);
}
ATTUNE_DEVICE range operator<<(range a, range b) {
  if (!is_one(b)) return anything();
  const long long factor = 1ll << (b.low & 31);
  return from_to(a.low * factor, a.high * factor);
}
ATTUNE_DEVICE range operator>>(range a, range b) {
  return is_one(b) ? range(a.low >> (b.low & 31), a.high >> (b.low & 31)) : anything();
}
ATTUNE_DEVICE verdict operator<(range a, range b) {
  return {a.low < b.high, a.high < b.low};
}
ATTUNE_DEVICE verdict operator<=(range a, range b) {
  return {a.low <= b.high, a.high <= b.low};
}
ATTUNE_DEVICE verdict operator>(range a, range b) {
  return b < a;
}
ATTUNE_DEVICE verdict operator>=(range a, range b) {
  return b <= a;
}
ATTUNE_DEVICE verdict operator==(range a, range b) {
  return {a.low <= b.high && b.low <= a.high, is_one(a) && is_one(b) && a.low == b.low};
}
ATTUNE_DEVICE verdict operator!(verdict a) {
  return {!a.always, !a.maybe};
}
ATTUNE_DEVICE verdict operator!=(range a, range b) {
  return !(a == b);
}
ATTUNE_DEVICE verdict operator&&(verdict a, verdict b) {
  return {a.maybe && b.maybe, a.always && b.always};
}
ATTUNE_DEVICE verdict operator||(verdict a, verdict b) {
  return {a.maybe || b.maybe, a.always || b.always};
}

ATTUNE_DEVICE range select(verdict condition, range yes, range no) {
  if (condition.always) return yes;
  if (!condition.maybe) return no;
  return range(minimum(yes.low, no.low), maximum(yes.high, no.high));
}
ATTUNE_DEVICE verdict select(verdict condition, verdict yes, verdict no) {
  return (condition && yes) || (!condition && no) || (yes && no);
}
ATTUNE_DEVICE unknown select(verdict, unknown yes, unknown) {
  return yes;
}
ATTUNE_DEVICE range magnitude(range a) {
  if (a.low >= 0) return a;
  if (a.high <= 0) return -a;
  return from_to(0, most(-(long long)a.low, a.high));
}
ATTUNE_DEVICE range smaller(range a, range b) {
  return range(minimum(a.low, b.low), minimum(a.high, b.high));
}
ATTUNE_DEVICE range larger(range a, range b) {
  return range(maximum(a.low, b.low), maximum(a.high, b.high));
}
ATTUNE_DEVICE range random_bits(range a, range b, range c) {
  if (is_one(a) && is_one(b) && is_one(c)) return random_bits(integer(a.low), integer(b.low), integer(c.low)).value();
  return range(0, 2147483647);
}

ATTUNE_DEVICE unknown operator+(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown operator-(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown operator*(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown rounded_sum(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown rounded_difference(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown rounded_product(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown rounded_quotient(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown operator-(unknown a) {
  return a;
}
ATTUNE_DEVICE verdict operator<(unknown, unknown) {
  return {true, false};
}
ATTUNE_DEVICE verdict operator>(unknown, unknown) {
  return {true, false};
}
ATTUNE_DEVICE verdict operator<=(unknown, unknown) {
  return {true, false};
}
ATTUNE_DEVICE verdict operator>=(unknown, unknown) {
  return {true, false};
}
ATTUNE_DEVICE verdict operator==(unknown, unknown) {
  return {true, false};
}
ATTUNE_DEVICE verdict operator!=(unknown, unknown) {
  return {true, false};
}
template <class real> ATTUNE_DEVICE real small(range a) {
  return real(a);
}
ATTUNE_DEVICE unknown magnitude(unknown x) {
  return x;
}
ATTUNE_DEVICE unknown smaller(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown larger(unknown a, unknown) {
  return a;
}
ATTUNE_DEVICE unknown exponential(unknown x) {
  return x;
}
ATTUNE_DEVICE unknown logarithm(unknown x) {
  return x;
}
ATTUNE_DEVICE unknown root(unknown x) {
  return x;
}
ATTUNE_DEVICE unknown hyperbolic_tangent(unknown x) {
  return x;
}
ATTUNE_DEVICE unknown rounded_down(unknown x) {
  return x;
}
ATTUNE_DEVICE range truncated(unknown) {
  return anything();
}

/* ---- arrays in device memory ---- */

/* Where an array has no element, another address is read and the value dropped: a load that is always done can be begun
 * before the last one is there. */
template <class element> struct array {
  const element *data;
  int count;
  ATTUNE_MEMBER array(const attune_arguments &problem, int i) {
    const attune_argument &of = problem.values[i];
    count = (int)least(of.count, 2147483647);
    data = (const element *)(count > 0 ? of.array : problem.q);
  }
  ATTUNE_MEMBER bool has(int i) const {
    return (unsigned)i < (unsigned)count;
  }
  ATTUNE_MEMBER const element *at(int i) const {
    return data + (has(i) ? i : 0);
  }
};

struct integers : array<int> {
  static constexpr int widest = 512; // elements that are looked at for a range
  ATTUNE_MEMBER integers(const attune_arguments &problem, int i) : array(problem, i) {}
  ATTUNE_MEMBER integer operator[](integer i) const {
    const int x = load_constant_int(at(i.value()));
    return has(i.value()) ? x : 0;
  }
  /* All that lies there: so an expression over document numbers tells which tiles have nothing in common. Sixteen at a
   * time, since a lane waits for what it loads. */
  ATTUNE_MEMBER range operator[](range i) const {
    if (is_one(i)) return range((*this)[integer(i.low)].value());
    if ((long long)i.high - i.low >= widest) return anything();
    const bool outside = i.low < 0 || i.high >= count;
    range all = outside ? range(0) : range(2147483647, -2147483647 - 1);
    const int last = (int)least(i.high, count - 1);
    int j = maximum(i.low, 0);
    if ((unsigned long long)(data + j) % 16 == 0)
      for (; j + 15 <= last; j += 16)
#pragma unroll
        for (int part = 0; part < 4; part++) {
          const vec128 four = load_constant_128(data + j + 4 * part);
#pragma unroll
          for (int e = 0; e < 4; e++)
            all = joined(all, (int)four.x[e]);
        }
    for (; j <= last; j++)
      all = joined(all, load_constant_int(data + j));
    return all;
  }
};

/* Of an ascending array how many elements are at most x; of any other, what halving it comes to. */
ATTUNE_DEVICE int count_up_to(const integers &in, int x) {
  int low = 0, high = in.count;
  while (low < high) {
    const int middle = (int)(((unsigned)low + (unsigned)high) / 2);
    if (load_constant_int(in.data + middle) <= x)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
ATTUNE_DEVICE integer find_in(const integers &in, integer x) {
  return count_up_to(in, x.value());
}
ATTUNE_DEVICE range find_in(const integers &in, range x) { // it only grows with x
  return range(count_up_to(in, x.low), count_up_to(in, x.high));
}

struct reals : array<float> {
  ATTUNE_MEMBER reals(const attune_arguments &problem, int i) : array(problem, i) {}
  ATTUNE_MEMBER float operator[](integer i) const {
    const float x = load_constant_float(at(i.value()));
    return has(i.value()) ? x : 0.0f;
  }
  ATTUNE_MEMBER unknown operator[](range) const {
    return unknown(0.0f);
  }
};

/* The tensor that is added to the scores: a row of keys. */
ATTUNE_DEVICE const char *bias_of_row(const attune_arguments &problem, int batch, int head, int q) {
  return (const char *)problem.bias +
         2 * (batch * problem.bias_batch + head * problem.bias_heads + q * problem.bias_seqlen);
}
