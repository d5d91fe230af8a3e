#include "compiler/program/commands.h"
#include "compiler/program/terminal.h"
#include "passes/pass.h"

#include <fmt/format.h>

namespace cnnc {

int passes_command(const Arguments& arguments)
{
  Parser parser("cnnc passes",
                "The compiler from top to bottom: each pass, the -O level from which it runs, what it leaves.",
                {"cnnc passes", "cnnc lenet5.yaml --print-ir-after=fuse_epilogue --emit=loops"});
  parser.parse(arguments);
  Table table;
  table.add_column("pass", false, 3);
  table.add_column("on", false, 1);
  table.add_column("from", false, 2);
  table.add_column("leaves", false, 4);
  constexpr const char* works_on[] = {"graph", "program", "nest"};
  for (const PassDef& pass : pipeline())
    table.add_row({pass.name, works_on[pass.run.index()], fmt::format("-O{}", pass.level), pass.leaves});
  print(table.text(0));
  return 0;
}

} // namespace cnnc
