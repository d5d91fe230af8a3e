#include "compiler/program/arguments.h"
#include "ir/location.h"

#include <algorithm>
#include <fmt/format.h>

namespace cnnc {

Parser::Parser(const std::string& usage, const std::string& description, const std::vector<std::string>& examples)
    : app(description),
      usage_(usage)
{
  app.set_help_flag("-h,--help", "show this and exit");
  app.get_formatter()->column_width(28);
  app.get_formatter()->label("REQUIRED", "");
  app.allow_extras();
  examples_ = "Examples:\n";
  for (const std::string& example : examples)
    examples_ += "  " + example + "\n";
}

void Parser::parse(const Arguments& arguments)
{
  Arguments reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::string help = app.help();
    const size_t usage = help.find("Usage:"); // CLI11's own does not know the order that people write
    if (usage != help.npos)
      help.replace(usage, help.find('\n', usage) - usage, "Usage: " + usage_);
    throw Finished{help + "\n" + examples_};
  } catch (const CLI::ParseError& e) {
    throw Error({}, e.what(), {}, 2);
  }
  const std::vector<std::string> rest = app.remaining();
  if (rest.empty())
    return;
  if (rest[0].size() < 2 || rest[0][0] != '-')
    throw Error({}, fmt::format("one argument too many: '{}'", rest[0]), {}, 2);
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      known.push_back("--" + name);
  const std::string option = rest[0].substr(0, rest[0].find('='));
  const std::string near = nearest(option, known);
  throw Error(
      {}, fmt::format("unknown option '{}'{}", option, near.empty() ? "" : fmt::format("; did you mean '{}'?", near)),
      {}, 2);
}

Arguments normalized(Arguments arguments)
{
  for (std::string& argument : arguments)
    if (argument == "-march" || argument.starts_with("-march="))
      argument.insert(0, "-");
  return arguments;
}

std::string shell_quoted(const Arguments& arguments)
{
  std::string text;
  for (const std::string& argument : arguments) {
    const bool plain = !argument.empty() && std::all_of(argument.begin(), argument.end(), [](unsigned char c) {
      return std::isalnum(c) || std::string_view("-_=./+:,@%").find(static_cast<char>(c)) != std::string_view::npos;
    });
    text += text.empty() ? "" : " ";
    if (plain) {
      text += argument;
      continue;
    }
    text += '\'';
    for (const char c : argument)
      text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

} // namespace cnnc
