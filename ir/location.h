// Where a thing came from, and the one exception that carries a user's error with its places.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cnnc {

// A text that was read. `text` may be empty: a location that was itself read from IR text knows only the name.
struct Source {
  std::string name;
  std::string text;
};

// A place in a source; lines and columns count from 1. A default one is nowhere.
struct Location {
  std::shared_ptr<const Source> source;
  int line = 0;
  int column = 0;

  bool is_known() const { return source && line > 0; }
  friend bool operator==(const Location&, const Location&);
};

// "file:line:column", or the empty string for nowhere.
std::string to_string(const Location&);

// What the user did wrong: thrown once, where it is seen, and caught once, in the program (or in the REPL). The exit
// code says which kind: 1 the input is wrong, 2 wrong usage, 3 cannot read or write.
class Error : public std::runtime_error {
public:
  struct Note {
    Location where;
    std::string text;
  };

  Error(Location where, const std::string& text, std::vector<Note> notes = {}, int exit_code = 1)
      : std::runtime_error(text), where(std::move(where)), notes(std::move(notes)), exit_code(exit_code)
  {
  }

  Location where;
  std::vector<Note> notes;
  int exit_code;
};

// The error as a person reads it: place, text, the line with a caret, then the notes likewise.
//   net.yaml:12:5: error: conv2d 'c2': weight wants 8 input channels, the input has 6
//      12 |   - conv2d: {name: c2, filters: 16, kernel: 5}
//         |     ^
std::string render(const Error&);
std::string render(const Location&, std::string_view severity, std::string_view text);

// The candidate nearest to `word` by edit distance (Levenshtein), or "" where none is near enough to be meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// A broken promise between two parts of the compiler: never the user's fault, exit code 70.
class InternalError : public std::logic_error {
public:
  using std::logic_error::logic_error;
};

} // namespace cnnc
