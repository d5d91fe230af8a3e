#include "compiler/program/commands.h"

int main(int argc, char** argv)
{
  return cnnc::run_program(argc, argv);
}
