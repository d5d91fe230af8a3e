// What standard output is: a terminal of some width, or a pipe, which gets plain text without control characters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cnnc {

bool is_terminal(int descriptor);
// Columns of the terminal (COLUMNS wins, where it is set); 0 for a pipe: no limit.
int terminal_columns();

// To standard output; throws Error with exit code 3 where that cannot be written (a full disk, not a closed pipe).
void print(std::string_view text);
void flush_output();

// Columns of text, numbers to the right. Where the terminal is too narrow, columns are left out, the least important
// first, and a line below says which.
//
//   layer   output      parameters  multiply-adds
//   conv1   [6,28,28]          156        117,600
//   total                      156        117,600
class Table {
public:
  // `importance`: the smallest is left out first.
  void add_column(std::string title, bool right, int importance);
  void add_row(std::vector<std::string> cells);
  void add_rule(); // a line between rows
  std::string text(int columns) const;

private:
  struct Column {
    std::string title;
    bool right;
    int importance;
  };
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_; // an empty one is a rule
};

std::string with_commas(int64_t number);                    // 1234567 => "1,234,567"
std::string counted(int64_t number, std::string_view noun); // "1 layer", "1,234 layers"
std::string bytes_text(int64_t bytes);                      // 1536 => "1.5 KiB"

} // namespace cnnc
