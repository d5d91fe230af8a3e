// Measuring programs have one way to end early: they say why.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

[[noreturn]] inline void fail(const std::string& message)
{
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}
