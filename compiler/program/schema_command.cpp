#include "compiler/program/commands.h"
#include "compiler/program/terminal.h"
#include "ir/op.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace cnnc {

namespace {

using Json = nlohmann::ordered_json;

struct ToJson {
  template<class T>
  Json operator()(const T& value) const
  {
    return value;
  }
};

Json number(const char* type, const AttributeDef& def)
{
  Json json{{"type", type}};
  if (def.minimum > -1e9)
    json["minimum"] = def.minimum;
  if (def.maximum < 1e9)
    json["maximum"] = def.maximum;
  return json;
}

Json one_or_list(const AttributeDef& def, Json item, size_t least, size_t most)
{
  Json list{{"type", "array"}, {"items", item}};
  if (most > 0) // else of any length
    list.update({{"minItems", least}, {"maxItems", most}});
  Json either = Json::array({std::move(item), std::move(list)});
  if (def.kind == AttributeKind::padding)
    either.push_back({{"enum", {"same", "valid"}}});
  return {{"anyOf", std::move(either)}};
}

Json schema_of(const AttributeDef& def)
{
  Json json;
  switch (def.kind) {
  case AttributeKind::integer: json = number("integer", def); break;
  case AttributeKind::real: json = number("number", def); break;
  case AttributeKind::boolean: json = {{"type", "boolean"}}; break;
  case AttributeKind::text: json = def.choices.empty() ? Json{{"type", "string"}} : Json{{"enum", def.choices}}; break;
  case AttributeKind::texts: json = {{"type", "array"}, {"items", {{"type", "string"}}}}; break;
  case AttributeKind::padding: json = one_or_list(def, number("integer", def), 2, 4); break;
  case AttributeKind::reals: json = {{"type", "array"}, {"items", number("number", def)}}; break;
  case AttributeKind::integers:
    json = one_or_list(def, number("integer", def), def.parts.size(), def.parts.size());
    break;
  }
  json["description"] = def.doc;
  const double* real = def.default_value ? std::get_if<double>(&*def.default_value) : nullptr;
  if (def.default_value && (!real || std::isfinite(*real))) // JSON has no infinity
    json["default"] = std::visit(ToJson(), *def.default_value);
  return json;
}

Json map_of(Json properties, std::vector<std::string> required)
{
  Json json{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty())
    json["required"] = std::move(required);
  return json;
}

// What every layer may carry.
Json layer_keys()
{
  return {
      {"name", {{"type", "string"}, {"description", "the layer's name; parameters are called name.weight"}}},
      {"from",
       {{"anyOf", {{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}}}},
        {"description", "which layers or inputs it reads; default: the layer above"}}},
      {"freeze", {{"type", "boolean"}, {"description", "training leaves its parameters as they are"}}},
      {"learning_rate", {{"type", "number"}, {"minimum", 0}, {"description", "times the optimizer's learning rate"}}},
      {"weights", {{"type", "object"}, {"description", "first values of its parameters, as nested lists"}}}};
}

Json attributes_of(const OpDef& def, Json properties)
{
  std::vector<std::string> required;
  for (const std::vector<AttributeDef>* defs : {&def.attributes, &def.layer})
    for (const AttributeDef& attribute : *defs) {
      if (attribute.name == "rate_factor")
        continue;
      properties[attribute.name] = schema_of(attribute);
      if (!attribute.default_value)
        required.push_back(attribute.name);
    }
  return map_of(std::move(properties), std::move(required));
}

// An op with a trait: its name, or one key with its attributes.
Json choice_of(bool OpDef::*trait)
{
  Json names = Json::array(), properties = Json::object();
  for (const OpDef* def : op_table())
    if (def->*trait) {
      names.push_back(def->name);
      properties[def->name] = attributes_of(*def, Json::object());
      properties[def->name]["description"] = def->doc;
    }
  Json map = map_of(std::move(properties), {});
  map["minProperties"] = map["maxProperties"] = 1;
  return {{"anyOf", {{{"enum", std::move(names)}}, std::move(map)}}};
}

Json layers_schema()
{
  Json names = Json::array(), properties = Json::object();
  for (const OpDef* def : op_table())
    if (!def->is_loss && !def->is_optimizer && !def->is_internal) {
      names.push_back(def->name);
      Json attributes = attributes_of(*def, layer_keys());
      const bool bare = !attributes.contains("required");
      properties[def->name] =
          bare ? Json{{"anyOf", {std::move(attributes), {{"type", "null"}}}}} : std::move(attributes);
      properties[def->name]["description"] = def->doc;
    }
  // Any other key is an op of the file's own.
  Json map{{"type", "object"},
           {"properties", std::move(properties)},
           {"additionalProperties", map_of(layer_keys(), {})},
           {"minProperties", 1},
           {"maxProperties", 1}};
  Json layer{{"anyOf", {{{"enum", std::move(names)}}, {{"type", "string"}}, std::move(map)}}};
  return {{"type", "array"}, {"minItems", 1}, {"items", std::move(layer)}};
}

Json schedule_schema()
{
  Json step =
      map_of({{"epochs", {{"type", "integer"}, {"minimum", 1}}}, {"factor", {{"type", "number"}, {"minimum", 0}}}}, {});
  return {{"anyOf",
           {{{"enum", {"constant", "cosine", "step"}}},
            {{"type", "object"}, {"properties", {{"step", std::move(step)}}}, {"additionalProperties", false}}}},
          {"description", "how the learning rate changes from epoch to epoch"}};
}

Json schema()
{
  const Json text{{"type", "string"}};
  const Json texts{{"anyOf", {text, {{"type", "array"}, {"items", text}, {"minItems", 1}}}}};
  Json op = map_of({{"inputs", texts}, {"outputs", texts}, {"formula", text}}, {"inputs", "formula"});
  Json extents{{"type", "array"}, {"minItems", 1}, {"maxItems", 7}, {"items", {{"type", "integer"}, {"minimum", 1}}}};
  Json train = map_of({{"data", {{"type", "string"}, {"description", "a known data set, or a folder"}}},
                       {"loss", choice_of(&OpDef::is_loss)},
                       {"optimizer", choice_of(&OpDef::is_optimizer)},
                       {"batch", {{"type", "integer"}, {"minimum", 1}}},
                       {"epochs", {{"type", "integer"}, {"minimum", 1}}},
                       {"seed", {{"type", "integer"}, {"minimum", 0}}},
                       {"schedule", schedule_schema()}},
                      {"loss", "optimizer"});
  Json root = map_of({{"name", {{"type", "string"}, {"pattern", "^[A-Za-z_][A-Za-z0-9_]{0,63}$"}}},
                      {"input",
                       {{"type", "object"},
                        {"minProperties", 1},
                        {"additionalProperties", std::move(extents)},
                        {"description", "name: extents of one image, as in [channels, rows, columns]"}}},
                      {"ops", {{"type", "object"}, {"additionalProperties", std::move(op)}}},
                      {"layers", layers_schema()},
                      {"train", std::move(train)}},
                     {"input", "layers"});
  root["$schema"] = "http://json-schema.org/draft-07/schema#";
  root["title"] = "cnnc network";
  return root;
}

} // namespace

int schema_command(const Arguments& arguments)
{
  Parser parser("cnnc schema",
                "JSON Schema of the network file, made from the op table: editors complete and check with it.",
                {"cnnc schema > cnnc.schema.json",
                 "# then, as the file's first line:  # yaml-language-server: $schema=cnnc.schema.json"});
  parser.parse(arguments);
  print(schema().dump(2) + "\n");
  return 0;
}

} // namespace cnnc
