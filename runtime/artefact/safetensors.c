/* Parameters from and to .safetensors:
 *
 *   8 bytes    N, little endian
 *   N bytes    {"conv1.weight": {"dtype": "F32", "shape": [6, 1, 5, 5], "data_offsets": [0, 600]}, ...}
 *   the rest   data, row-major; the offsets count from its start
 *
 * The file is hostile until it is checked: the whole header is read and every parameter found in it, with its type, its
 * shape and a range inside the file, before the first byte of the block changes. */
#define _GNU_SOURCE
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 100 << 20, MAX_DEPTH = 16, NAME_BYTES = 256, CHUNK = 16384 };

static const char* const dtype_names[] = {"F32", "F64", "BF16", "I8", "U8", "I32", "I64", "BOOL"};

/* ---- reading the header's JSON ---- */

typedef struct text {
  const char *at, *end;
} text;

static void skip_space(text* t)
{
  while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r'))
    ++t->at;
}

static int take(text* t, char c)
{
  skip_space(t);
  if (t->at == t->end || *t->at != c)
    return 0;
  ++t->at;
  return 1;
}

static int hex4(text* t, uint32_t* code)
{
  *code = 0;
  if (t->end - t->at < 4)
    return 0;
  for (int i = 0; i < 4; ++i) {
    const char c = *t->at++;
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0)
      return 0;
    *code = *code * 16 + (uint32_t)digit;
  }
  return 1;
}

/* A string into `to`, of NAME_BYTES; a longer one is cut off there, and is then no name of ours. */
static int read_string(text* t, char* to)
{
  static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  size_t length = 0;
  if (!take(t, '"'))
    return 0;
  while (t->at < t->end && *t->at != '"') {
    char bytes[4] = {*t->at++};
    size_t count = 1;
    if ((unsigned char)bytes[0] < 0x20)
      return 0;
    if (bytes[0] == '\\') {
      if (t->at == t->end)
        return 0;
      const char kind = *t->at++, *found = kind == 0 ? NULL : strchr(escapes, kind);
      uint32_t code, low;
      if (found != NULL)
        bytes[0] = meant[found - escapes];
      else if (kind != 'u' || !hex4(t, &code) || (code >= 0xdc00 && code < 0xe000))
        return 0;
      else {
        if (code >= 0xd800 && code < 0xdc00) { /* the first half of a pair */
          if (t->end - t->at < 2 || t->at[0] != '\\' || t->at[1] != 'u')
            return 0;
          t->at += 2;
          if (!hex4(t, &low) || low < 0xdc00 || low >= 0xe000)
            return 0;
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
        for (size_t i = count - 1; i > 0; --i, code >>= 6)
          bytes[i] = (char)(0x80 | (code & 0x3f));
        bytes[0] = (char)(first[count] | code);
      }
    }
    for (size_t i = 0; i < count; ++i)
      if (length < NAME_BYTES)
        to[length++] = bytes[i] == 0 ? 1 : bytes[i]; /* a zero inside must not end the name */
  }
  if (!take(t, '"'))
    return 0;
  to[length < NAME_BYTES ? length : 0] = 0;
  return 1;
}

static int read_number(text* t, int64_t* value)
{
  skip_space(t);
  int digits = 0;
  for (*value = 0; t->at < t->end && *t->at >= '0' && *t->at <= '9'; ++t->at, ++digits)
    if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *t->at - '0', value))
      return 0;
  return digits > 0;
}

/* Any value, looked at only to find its end. */
static int skip_value(text* t, int depth)
{
  char ignored[NAME_BYTES + 1];
  skip_space(t);
  if (t->at == t->end || depth > MAX_DEPTH)
    return 0;
  if (*t->at == '"')
    return read_string(t, ignored);
  if (*t->at == '{' || *t->at == '[') {
    const char close = *t->at == '{' ? '}' : ']';
    ++t->at;
    if (take(t, close))
      return 1;
    do {
      if (close == '}' && (!read_string(t, ignored) || !take(t, ':')))
        return 0;
      if (!skip_value(t, depth + 1))
        return 0;
    } while (take(t, ','));
    return take(t, close);
  }
  const char* start = t->at; /* a number, true, false, null */
  while (t->at < t->end && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *t->at) != NULL && *t->at != 0)
    ++t->at;
  return t->at != start;
}

typedef struct entry {
  char dtype[NAME_BYTES + 1];
  int64_t dims[CNN_MAX_RANK], rank; /* rank -1: more than CNN_MAX_RANK */
  int64_t begin, end;               /* of the data */
  int has_dtype, has_shape, has_offsets;
} entry;

static int read_entry(text* t, entry* entry)
{
  char key[NAME_BYTES + 1];
  memset(entry, 0, sizeof *entry);
  if (!take(t, '{'))
    return 0;
  if (take(t, '}'))
    return 1;
  do {
    if (!read_string(t, key) || !take(t, ':'))
      return 0;
    if (strcmp(key, "dtype") == 0) {
      if (!read_string(t, entry->dtype))
        return 0;
      entry->has_dtype = 1;
    } else if (strcmp(key, "shape") == 0) {
      if (!take(t, '['))
        return 0;
      entry->has_shape = 1;
      entry->rank = 0;
      if (take(t, ']'))
        continue;
      do {
        int64_t extent;
        if (!read_number(t, &extent))
          return 0;
        if (entry->rank >= 0 && entry->rank < CNN_MAX_RANK)
          entry->dims[entry->rank++] = extent;
        else
          entry->rank = -1;
      } while (take(t, ','));
      if (!take(t, ']'))
        return 0;
    } else if (strcmp(key, "data_offsets") == 0) {
      if (!take(t, '[') || !read_number(t, &entry->begin) || !take(t, ',') || !read_number(t, &entry->end) ||
          !take(t, ']'))
        return 0;
      entry->has_offsets = 1;
    } else if (!skip_value(t, 0))
      return 0;
  } while (take(t, ','));
  return take(t, '}');
}

static int fits(const entry* entry, const cnn_tensor* tensor, int64_t data_bytes)
{
  if (!entry->has_dtype || !entry->has_shape || !entry->has_offsets ||
      strcmp(entry->dtype, dtype_names[tensor->dtype]) != 0 || entry->rank != tensor->rank)
    return 0;
  for (int32_t d = 0; d < tensor->rank; ++d)
    if (entry->dims[d] != tensor->dims[d])
      return 0;
  return entry->begin <= entry->end && entry->end <= data_bytes &&
         entry->end - entry->begin == cnn_elements_of(tensor) * cnn_size_of(tensor->dtype);
}

/* starts[i]: where parameter i's data begin, behind the header. */
static int read_header(text t, int64_t data_bytes, int64_t* starts)
{
  const cnn_model* model = &cnn_network_data.model;
  char name[NAME_BYTES + 1];
  entry entry;
  for (int32_t i = 0; i < model->parameter_count; ++i)
    starts[i] = -1;
  if (!take(&t, '{'))
    return 0;
  if (!take(&t, '}')) {
    do {
      if (!read_string(&t, name) || !take(&t, ':'))
        return 0;
      int32_t i = 0;
      while (i < model->parameter_count && strcmp(model->parameters[i].name, name) != 0)
        ++i;
      if (i == model->parameter_count) {
        if (!skip_value(&t, 0))
          return 0;
        continue;
      }
      if (starts[i] >= 0 || !read_entry(&t, &entry) || !fits(&entry, &model->parameters[i], data_bytes))
        return 0;
      starts[i] = entry.begin;
    } while (take(&t, ','));
    if (!take(&t, '}'))
      return 0;
  }
  skip_space(&t);
  for (int32_t i = 0; i < model->parameter_count; ++i)
    if (starts[i] < 0)
      return 0;
  return t.at == t.end;
}

static int read_all(int file, void* to, int64_t count, int64_t offset)
{
  for (int64_t done = 0; done < count;) {
    const ssize_t got = pread(file, (char*)to + done, (size_t)(count - done), offset + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return 0;
    done += got;
  }
  return 1;
}

static int load(void* block, int file)
{
  const cnn_model* model = &cnn_network_data.model;
  struct stat status;
  unsigned char length_bytes[8];
  if (fstat(file, &status) != 0)
    return CNN_CANNOT_READ;
  if (!S_ISREG(status.st_mode) || status.st_size < 8)
    return CNN_BAD_FILE;
  if (!read_all(file, length_bytes, 8, 0))
    return CNN_CANNOT_READ;
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | length_bytes[i];
  if (length > MAX_HEADER || length > (uint64_t)status.st_size - 8)
    return CNN_BAD_FILE;
  const int64_t data = 8 + (int64_t)length;
  char* header = malloc(length + 1);
  int64_t* starts = malloc(((size_t)model->parameter_count + 1) * sizeof *starts);
  int code = CNN_NO_MEMORY;
  if (header != NULL && starts != NULL) {
    if (!read_all(file, header, (int64_t)length, 8))
      code = CNN_CANNOT_READ;
    else
      code = read_header((text){header, header + length}, status.st_size - data, starts) ? CNN_OK : CNN_BAD_FILE;
  }
  if (code == CNN_OK)
    code = cnn_can_prepare();
  if (code == CNN_OK)
    cnn_start_parameters(block);
  _Alignas(8) char chunk[CHUNK];
  for (int32_t i = 0; i < model->parameter_count && code == CNN_OK; ++i) {
    const cnn_tensor* tensor = &model->parameters[i];
    const int64_t size = cnn_size_of(tensor->dtype), elements = cnn_elements_of(tensor), at_once = CHUNK / size;
    for (int64_t first = 0; first < elements && code == CNN_OK; first += at_once) {
      const int64_t count = elements - first < at_once ? elements - first : at_once;
      if (read_all(file, chunk, count * size, data + starts[i] + first * size))
        cnn_scatter(tensor, block, first, count, chunk);
      else
        code = CNN_CANNOT_READ;
    }
    if (code != CNN_OK)
      memset(block, 0, CNN_HEADER_BYTES); /* half of the old values and half of the new are no parameters */
  }
  if (code == CNN_OK)
    cnn_prepare(&cnn_network_data, block);
  free(starts);
  free(header);
  return code;
}

int cnn_load_parameters(void* block, const char* path)
{
  if (block == NULL || path == NULL)
    return CNN_NULL_POINTER;
  if ((uintptr_t)block % CNN_ALIGNMENT != 0)
    return CNN_BAD_ALIGNMENT;
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe in its place must not hang the program */
  if (file < 0)
    return CNN_CANNOT_READ;
  const int code = load(block, file);
  close(file);
  return code;
}

static void write_string(FILE* file, const char* text)
{
  fputc('"', file);
  for (; *text != 0; ++text) {
    if (*text == '"' || *text == '\\')
      fputc('\\', file);
    if ((unsigned char)*text < 0x20)
      fprintf(file, "\\u%04x", (unsigned)*text);
    else
      fputc(*text, file);
  }
  fputc('"', file);
}

static void write_header(FILE* file)
{
  const cnn_model* model = &cnn_network_data.model;
  int64_t begin = 0;
  fputs("{\"__metadata__\":{\"network\":", file);
  write_string(file, model->name);
  fputs("}", file);
  for (int32_t i = 0; i < model->parameter_count; ++i) {
    const cnn_tensor* tensor = &model->parameters[i];
    const int64_t end = begin + cnn_elements_of(tensor) * cnn_size_of(tensor->dtype);
    fputc(',', file);
    write_string(file, tensor->name);
    fprintf(file, ":{\"dtype\":\"%s\",\"shape\":[", dtype_names[tensor->dtype]);
    for (int32_t d = 0; d < tensor->rank; ++d)
      fprintf(file, d == 0 ? "%lld" : ",%lld", (long long)tensor->dims[d]);
    fprintf(file, "],\"data_offsets\":[%lld,%lld]}", (long long)begin, (long long)end);
    begin = end;
  }
  fputs("}", file);
}

static int save(const void* block, FILE* file)
{
  const cnn_model* model = &cnn_network_data.model;
  const unsigned char room[8] = {0};
  if (fwrite(room, 1, 8, file) != 8)
    return 0;
  write_header(file);
  long end = ftell(file);
  for (; end >= 0 && end % 8 != 0; ++end) /* the data are aligned to 8 */
    fputc(' ', file);
  _Alignas(8) char chunk[CHUNK];
  for (int32_t i = 0; i < model->parameter_count; ++i) {
    const cnn_tensor* tensor = &model->parameters[i];
    const int64_t size = cnn_size_of(tensor->dtype), elements = cnn_elements_of(tensor), at_once = CHUNK / size;
    for (int64_t first = 0; first < elements; first += at_once) {
      const int64_t count = elements - first < at_once ? elements - first : at_once;
      cnn_gather(tensor, block, first, count, chunk);
      if (fwrite(chunk, (size_t)size, (size_t)count, file) != (size_t)count)
        return 0;
    }
  }
  unsigned char length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = (unsigned char)((uint64_t)(end - 8) >> (8 * i));
  if (end < 0 || fseek(file, 0, SEEK_SET) != 0 || fwrite(length, 1, 8, file) != 8)
    return 0;
  return fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
}

int cnn_save_parameters(const void* block, const char* path)
{
  const int code = cnn_check_parameters(block);
  if (code != CNN_OK)
    return code;
  if (path == NULL)
    return CNN_NULL_POINTER;
  const size_t room = strlen(path) + 32;
  char* aside = malloc(room);
  if (aside == NULL)
    return CNN_NO_MEMORY;
  int descriptor = -1;
  for (int i = 0; i < 100 && descriptor < 0; ++i) { /* several threads may save to one path: the last one wins */
    snprintf(aside, room, "%s.part-%ld-%d", path, (long)getpid(), i);
    descriptor = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && errno != EEXIST)
      break;
  }
  FILE* file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
  int good = 0;
  if (file != NULL) {
    good = save(block, file);
    good = fclose(file) == 0 && good && rename(aside, path) == 0;
  } else if (descriptor >= 0)
    close(descriptor);
  if (!good && descriptor >= 0)
    unlink(aside);
  free(aside);
  return good ? CNN_OK : CNN_CANNOT_WRITE;
}
