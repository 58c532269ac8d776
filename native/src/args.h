// Arguments of the plain N-API functions: numbers and typed arrays, unpacked without exceptions.
// Used where a call is frequent; node-addon-api's wrappers serve the rest.
#pragma once
#include <node_api.h>
#include <cerrno>
#include <cstdint>
#include <cstddef>

template <size_t N>
struct Args {
  napi_env env;
  napi_value v[N];
  size_t count = N;

  Args(napi_env e, napi_callback_info info) : env(e) { napi_get_cb_info(e, info, &count, v, nullptr, nullptr); }

  int32_t i32(size_t n) const {
    int32_t x = 0;
    napi_get_value_int32(env, v[n], &x);
    return x;
  }
  uint32_t u32(size_t n) const {
    uint32_t x = 0;
    napi_get_value_uint32(env, v[n], &x);
    return x;
  }
  double num(size_t n) const {
    double x = 0;
    napi_get_value_double(env, v[n], &x);
    return x;
  }
  /** A whole number that may be an address: exact below 2^53. */
  uint64_t u64(size_t n) const { return static_cast<uint64_t>(num(n)); }
  int64_t i64(size_t n) const { return static_cast<int64_t>(num(n)); }

  /** Bytes of a typed array or ArrayBuffer; length 0 when the value is neither. */
  uint8_t* bytes(size_t n, size_t* length) const {
    void* data = nullptr;
    *length = 0;
    bool typed = false;
    napi_is_typedarray(env, v[n], &typed);
    if (typed) {
      napi_typedarray_type type;
      napi_value buffer;
      size_t offset, count_;
      napi_get_typedarray_info(env, v[n], &type, &count_, &data, &buffer, &offset);
      size_t width = type == napi_uint8_array || type == napi_int8_array || type == napi_uint8_clamped_array ? 1
                     : type == napi_int16_array || type == napi_uint16_array                                 ? 2
                     : type == napi_int32_array || type == napi_uint32_array || type == napi_float32_array   ? 4
                                                                                                            : 8;
      *length = count_ * width;
    } else {
      napi_get_arraybuffer_info(env, v[n], &data, length);
    }
    return static_cast<uint8_t*>(data);
  }

  /** [at, at+n) of a byte array, or null when it does not fit. */
  uint8_t* span(size_t arg, uint64_t at, uint64_t n) const {
    size_t length;
    uint8_t* data = bytes(arg, &length);
    return data != nullptr && at <= length && n <= length - at ? data + at : nullptr;
  }

  size_t string(size_t n, char* out, size_t size) const {
    size_t length = 0;
    napi_get_value_string_latin1(env, v[n], out, size, &length);
    return length;
  }
};

inline napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

inline napi_value integer(napi_env env, int32_t value) {
  napi_value result;
  napi_create_int32(env, value, &result);
  return result;
}

/** A host call's result: what it returned, or -errno. */
inline napi_value result(napi_env env, int64_t value) { return value < 0 ? integer(env, -errno) : number(env, static_cast<double>(value)); }

inline void define(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}
